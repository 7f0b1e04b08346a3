"""How an image is prepared for an encoder: the central square, resized and normalized."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cl.data.augment import cpu
from cl.data.augment.recipe import Recipe
from cl.data.module import kept
from cl.data.sets._decode import rgb

UNKNOWN = "an image is a PIL image, a uint8 array (h w 3) or a tensor (3 h w), not"


@dataclass(frozen=True)
class Transform:
    """Prepares an image exactly as evaluation and validation do.

    Images above 64 px are cropped to the central 7/8 of their shorter side (224 of 256).

    Args:
        recipe: its size, mean and std.
    """

    recipe: Recipe

    def __call__(self, image: object) -> Float[Tensor, "3 h w"]:
        """Prepare one image.

        Args:
            image: PIL; or uint8 `(h w 3)`, `(h w 1)` or `(h w)`; or a tensor `(3 h w)` or `(1 h w)`
                of uint8, or of floats between 0 and 1.

        Returns:
            `(3 size size)` in float32, normalized.

        Raises:
            ValueError: it is no image of these kinds.
        """
        size = self.recipe.size
        out = np.empty((3, size, size), np.float32)
        cpu.plain(pixels_of(image), kept(size), self.recipe.record, out)
        return torch.from_numpy(out)


def pixels_of(image: object) -> npt.NDArray[np.uint8]:
    """The pixels of an image, `(h w 3)`.

    >>> pixels_of(torch.ones(1, 4, 5)).shape, int(pixels_of(torch.ones(1, 4, 5)).max())
    ((4, 5, 3), 255)

    Raises:
        ValueError: it is none that is known.
    """
    if isinstance(image, Image.Image):
        return rgb(image)
    if isinstance(image, Tensor):
        return pixels_of_tensor(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"{UNKNOWN} {kind_of(image)}")
    x = image if image.ndim == 3 else image[:, :, None]
    if x.shape[2] not in (1, 3):
        raise ValueError(f"{UNKNOWN} {kind_of(image)}")
    return np.ascontiguousarray(x if x.shape[2] == 3 else repeat(x, "h w 1 -> h w c", c=3))


def pixels_of_tensor(x: Tensor) -> npt.NDArray[np.uint8]:
    """The pixels of an image with its channels first, `(h w 3)`."""
    if x.ndim != 3 or x.shape[0] not in (1, 3):
        raise ValueError(f"{UNKNOWN} {kind_of(x)}")
    if x.is_floating_point():
        if x.amin() < 0 or x.amax() > 1:
            raise ValueError("a tensor of floats holds values between 0 and 1, not normalized ones")
        x = (x * 255).round().to(torch.uint8)
    return pixels_of(rearrange(x.cpu(), "c h w -> h w c").numpy())


def kind_of(image: object) -> str:
    """Type and shape of something that is no image."""
    if isinstance(image, np.ndarray | Tensor):
        return f"a {type(image).__name__} of {image.dtype} with shape {tuple(image.shape)}"
    return f"a {type(image).__name__}"
