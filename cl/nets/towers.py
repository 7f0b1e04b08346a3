"""Two encoders, one of images and one of texts, whose features are in one space."""

from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from cl.nets import encoders

Side = Literal["image", "text"]
TOKENS = (2, 4)  # of an example of texts


class Towers(nn.Module):
    """Images and texts to features of one width: an encoder each, and behind it a linear map.

    A view is of images where it is floating point, and of texts where it is not.

    Args:
        image: `(n c h w)` images to features.
        text: `(n l)` tokens, below 0 after the end, to features.
        width: of the features of both.
        lock: the encoder that stays as it is: its parameters have no gradient, and it is in
            evaluation mode also while the other one is trained (LiT, Zhai et al. 2022,
            https://arxiv.org/abs/2111.07991); its linear map is trained.
        example: a batch of images, by which the width of their features can be measured.
    """

    def __init__(
        self,
        image: nn.Module,
        text: nn.Module,
        width: int,
        *,
        lock: Side | None = None,
        example: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.lock = width, lock
        self.image, self.text = image, text
        images, tokens = encoders.width(image, example), torch.zeros(TOKENS, dtype=torch.long)
        self.image_map = nn.Linear(images, width, bias=False)
        self.text_map = nn.Linear(encoders.width(text, tokens), width, bias=False)
        if lock:
            self.get_submodule(lock).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Towers":
        super().train(mode)
        if self.lock:
            self.get_submodule(self.lock).eval()
        return self

    def forward(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        if x.is_floating_point():
            return self.image_map(self.image(x))
        return self.text_map(self.text(x))
