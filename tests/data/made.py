"""Small images that the tests of `cl.data` share."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cl.data.augment.recipe import Recipe
from cl.data.sets import Images
from cl.data.sets import in_files as in_files_of


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A smooth one with strong colors, `(h w 3)`."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, width // 4 + 2, 3))
    small = Image.fromarray(noise.astype(np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def in_memory(number: int = 12, side: int = 24) -> Images:
    pixels = np.stack([picture(side, side, i) for i in range(number)])
    return Images(np.arange(number) % 3, pixels)


def in_files(folder: Path, images: Images) -> Images:
    """The same pixels as PNG files."""
    assert images.pixels is not None
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for path, pixels in zip(paths, images.pixels, strict=True):
        Image.fromarray(pixels).save(path)
    return in_files_of(paths, images.labels.tolist())


def are_rounded(found: Any, exact: Any, recipe: Recipe) -> bool:
    """Whether views `(v c h w)` are others of the recipe, rounded to bytes."""
    mean, std = (np.array(x)[:, None, None] for x in (recipe.mean, recipe.std))
    one, other = (255 * (np.asarray(x, np.float64) * std + mean) for x in (found, exact))
    return bool(np.abs(one - one.round()).max() < 1e-3 and np.abs(one - other).max() < 0.501)
