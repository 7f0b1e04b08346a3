"""How an image is prepared for an encoder: the central square, resized and normalized."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cl.data.augment.recipe import Recipe
from cl.data.module import prepare
from cl.data.sets import RGB, Decoding
from cl.data.sets._item import pixels_of


@dataclass(frozen=True)
class Transform:
    """Prepares an image exactly as evaluation and validation do.

    Args:
        recipe: its size, mean, std, central part and interpolation.
        decoding: the range of values, the channels and the orientation of what is prepared.
    """

    recipe: Recipe
    decoding: Decoding = RGB

    def __call__(self, image: object) -> Float[Tensor, "c h w"]:
        """Prepare one image.

        Args:
            image: PIL; or an array or tensor `(h w)`, `(h w c)` or `(c h w)` with the encoder's
                channels, or one for three, of uint8 or of floats in 0 to 1; of any values where
                the weights have a range of values.

        Returns:
            `(c size size)` in float32, normalized.

        Raises:
            ValueError: it is no image of these kinds.
        """
        size, channels = self.recipe.size, self.recipe.channels
        how = self.decoding
        if channels != (how.channels or 3):
            how = replace(how, channels=channels)
        out = np.empty((channels, size, size), np.float32)
        prepare(pixels_of(image, how=how), self.recipe, out)
        return torch.from_numpy(out)
