"""An item of a map-style data set: its image as pixels, and its label if it has one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange, repeat
from PIL import Image

from cl.data.sets._decode import pixels_of_pil
from cl.data.sets._values import RGB, Decoding, Pixels, to_bytes

IMAGE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels")


class ItemError(ValueError):
    """An item whose type, shape or values are not those of an image with a label."""


def split_item(item: Any) -> tuple[Any, Any]:
    """The image and the label, None without one, of (image, label, ...), a dictionary or an image.

    Raises:
        ItemError: there is no image in it.
    """
    if isinstance(item, Mapping):
        image = next((item[key] for key in IMAGE_KEYS if key in item), None)
        if image is None:
            raise ItemError(
                f"it has the keys {', '.join(map(str, item))}; its image must be under one of "
                f"{', '.join(IMAGE_KEYS)}"
            )
        return image, next((item[key] for key in LABEL_KEYS if key in item), None)
    if isinstance(item, tuple | list):
        if not item:
            raise ItemError("it is empty; it must be an image or (image, label)")
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def label_of(label: Any) -> int:
    """The label as a number.

    Raises:
        ItemError: it is none.
    """
    if isinstance(label, int | np.integer):
        return int(label)
    if isinstance(label, torch.Tensor | np.ndarray):
        array = np.asarray(label)
        if array.ndim == 0 and np.issubdtype(array.dtype, np.integer):
            return int(array)
    raise ItemError(
        f"its label is a {type(label).__name__}; a label is a whole number, below 0 if there is "
        "none. Give a data set of images alone to train without labels"
    )


def pixels_of(image: Any, name: str = "its image", how: Decoding = RGB) -> Pixels:
    """The image as `(h w 3)` uint8.

    Args:
        image: a PIL image; an array or tensor `(h w)`, `(h w c)` or `(c h w)` with 1 or 3 channels
            of uint8 or of floats in 0 to 1.
        name: of the image, for warnings.
        how: range of values, channels, orientation.

    Raises:
        ItemError: it is nothing of that.
    """
    if isinstance(image, Image.Image):
        return pixels_of_pil(image, name, how)
    if isinstance(image, torch.Tensor | np.ndarray):
        return stack_of(image[None], how)[0]
    raise ItemError(
        f"its image is a {type(image).__name__}; it must be a PIL image, an array or a tensor. If "
        "the data set makes the views itself, give a DataLoader of it to "
        "ContrastiveData.from_loaders"
    )


def stack_of(images: npt.NDArray[Any] | torch.Tensor, how: Decoding = RGB) -> Pixels:
    """Images `(n h w)`, `(n h w c)` or `(n c h w)` as `(n h w 3)` uint8, or of `how.channels`.

    Where the shape leaves it open, an array has its channels last and a tensor has them first.

    Raises:
        ItemError: of another shape or type, or floats that are not in 0 to 1.
    """
    is_tensor, wanted = isinstance(images, torch.Tensor), how.channels or 3
    x: npt.NDArray[Any] = images.numpy(force=True) if isinstance(images, torch.Tensor) else images
    x = to_uint8(x) if how.value_range is None else to_bytes(x, how.value_range)
    if x.ndim == 3:
        x = x[..., None]
    some = (1, 3) if wanted == 3 else (wanted,)
    axes = [a for a in ((1, 3) if is_tensor else (3, 1)) if x.ndim == 4 and x.shape[a] in some]
    axes = [3] if images.ndim == 3 and 1 in some else axes
    if not axes:
        raise ItemError(
            f"its image has the shape {tuple(images.shape[1:])}; it must be (h w), (h w c) or "
            f"(c h w) with {' or '.join(map(str, some))} channels"
        )
    x = rearrange(x, "n c h w -> n h w c") if axes[0] == 1 else x
    return np.ascontiguousarray(x if x.shape[3] == wanted else repeat(x, "n h w 1 -> n h w c", c=3))


def to_uint8(x: npt.NDArray[Any]) -> Pixels:
    """Values as bytes; floats in 0 to 1 are rounded, so that `ToTensor` is undone exactly."""
    if x.dtype == np.uint8:
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise ItemError(
            f"its image is of {x.dtype}; it must be uint8, or floats in 0 to 1, or needs a "
            "value_range"
        )
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ItemError(
            f"the values of its image lie in {low:.3g} to {high:.3g}, not in 0 to 1. Views are "
            "augmented and normalized here: give the data set without Normalize, or, if it makes "
            "the views itself, a DataLoader of it to ContrastiveData.from_loaders"
        )
    return (x * 255).round().astype(np.uint8)
