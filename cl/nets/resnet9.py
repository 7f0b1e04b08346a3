"""ResNet-9: the smallest residual network that learns CIFAR well (Page 2018, "How to train your ResNet").

A stem, three stages that double the width and halve the side, the first and the last followed by
one residual block, and the mean over the image. At width 16 it has 0.43 M parameters, which two CPU
cores can train in minutes.
"""

from collections import OrderedDict

from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn


def conv(i: int, o: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution that keeps (or with stride 2 halves) the side, its norm and a ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(i, o, 3, stride, padding=1, bias=False),
            norm=nn.BatchNorm2d(o),
            act=nn.ReLU(inplace=True),
        )
    )


class Residual(nn.Module):
    """`x + f(x)` with two convolutions in f."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(dim, dim), conv(dim, dim)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.conv2(self.conv1(x))


class ResNet9(nn.Module):
    """An encoder of images of 16 to 64 pixels; features have `8 * width` dimensions."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.num_features = 8 * width
        self.stem = conv(3, width)
        self.stage1 = nn.Sequential(conv(width, 2 * width, 2), Residual(2 * width))
        self.stage2 = conv(2 * width, 4 * width, 2)
        self.stage3 = nn.Sequential(conv(4 * width, 8 * width, 2), Residual(8 * width))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return reduce(x, "n d h w -> n d", "mean")
