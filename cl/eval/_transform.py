"""How an image is prepared for an encoder: the central square, resized and normalized."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cl.data.augment.recipe import Recipe
from cl.data.module import prepare
from cl.data.sets._item import pixels_of


@dataclass(frozen=True)
class Transform:
    """Prepares an image exactly as evaluation and validation do.

    Args:
        recipe: its size, mean, std, central part and interpolation.
    """

    recipe: Recipe

    def __call__(self, image: object) -> Float[Tensor, "3 h w"]:
        """Prepare one image.

        Args:
            image: PIL; or an array or tensor `(h w)`, `(h w c)` or `(c h w)` with 1 or 3 channels,
                of uint8 or of floats in 0 to 1.

        Returns:
            `(3 size size)` in float32, normalized.

        Raises:
            ValueError: it is no image of these kinds.
        """
        size = self.recipe.size
        out = np.empty((3, size, size), np.float32)
        prepare(pixels_of(image), self.recipe, out)
        return torch.from_numpy(out)
