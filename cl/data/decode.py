"""From a file to RGB pixels, whatever its mode; a file that is no image is named in an error."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# Those of torchvision's ImageFolder.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """The image as `(h w 3)`; gray, palette and CMYK become RGB, 16 bits keep their upper eight.

    Transparency is dropped and a camera's orientation is not applied, as torchvision's loader does.

    Raises:
        ValueError: a file that is damaged, cut short or no image.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if image.mode.startswith("I;16") or image.mode == "I":
                upper = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                return np.ascontiguousarray(np.repeat(upper[..., None], 3, axis=2))
            if image.mode == "P" and "transparency" in image.info:  # PIL warns of the direct way
                image = image.convert("RGBA")
            return np.array(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None
