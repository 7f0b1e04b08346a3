"""ResNet-6: a residual network of five convolutions for small images and small machines.

He et al. 2016 (https://arxiv.org/abs/1512.03385) made small; the sixth layer is the classifier. The
stem's 4x4 kernel at stride 2 does for a 32-pixel image what a 7x7 does for a large one and leaves a
quarter of the positions to compute; two stages follow, each halves the side, doubles the width and
ends in one residual convolution (a second in each costs half as much time again and brought no
accuracy on CIFAR-10). At width 32 it has 0.28 M parameters, which two CPU cores train in minutes.
"""

from collections import OrderedDict

from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn


def conv(i: int, o: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps (or with stride 2 halves) the side, its norm and a ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(i, o, size, stride, padding=(size - 1) // 2, bias=False),
            norm=nn.BatchNorm2d(o),
            act=nn.ReLU(inplace=True),
        )
    )


class Residual(nn.Module):
    """`x + f(x)` with one convolution in f."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = conv(dim, dim)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.conv(x)


class ResNet6(nn.Module):
    """An encoder of images of 16 to 64 pixels; features have `4 * width` dimensions."""

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        super().__init__()
        self.num_features = 4 * width
        self.stem = conv(channels, width, size=4, stride=2)
        self.stage1 = nn.Sequential(conv(width, 2 * width, stride=2), Residual(2 * width))
        self.stage2 = nn.Sequential(conv(2 * width, 4 * width, stride=2), Residual(4 * width))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Which parameters are of one layer, see `cl.layer_decay`."""
        return {"stem": "^stem", "blocks": r"^stage(\d+)" if coarse else r"^stage(\d+)\.(\d+)"}

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return reduce(self.stage2(self.stage1(self.stem(x))), "n d h w -> n d", "mean")
