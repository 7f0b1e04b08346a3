"""Decode an image of any mode to RGB pixels; an error names what cannot be decoded."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from einops import repeat
from PIL import Image, UnidentifiedImageError

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg: Any = None

SLOWER = (
    "simplejpeg is not installed: PIL decodes JPEGs, to the same pixels in 1.5 times the time; "
    "pip install simplejpeg"
)
Pixels = npt.NDArray[np.uint8]
# Those of torchvision's ImageFolder, and more that PIL opens.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SUFFIXES += (".gif", ".avif", ".jfif", ".jpe", ".jp2", ".j2k", ".pbm", ".pnm", ".tga")
ARRAY = ".npy"
# What PIL raises for damaged images.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Decoding:
    """How image files become pixels.

    Args:
        value_range: the values that become 0 and 255, others are cut off; None goes by the type:
            of 8 bits all, of 16 the upper eight, of 32 bits and floats 0 to 255, as PIL does.
        channels: of an image; None is RGB, and arrays in files are no images.
        exif_orientation: whether an image is turned as its camera says.
    """

    value_range: tuple[float, float] | None = None
    channels: int | None = None
    exif_orientation: bool = False


RGB = Decoding()


class UnreadableError(ValueError):
    """An image file that is damaged, cut short or no image."""

    @classmethod
    def of(cls, name: str, why: object) -> "UnreadableError":
        """The error of one image; made of a message alone, it comes out of a worker process."""
        return cls(f"{name} cannot be read as an image: {why}")


def warn_of_pil() -> None:
    """Warn that JPEGs are decoded by PIL: for whoever loads a data set, and not its workers."""
    if decode_jpeg is None:
        warnings.warn(SLOWER, stacklevel=3)


def decode(content: bytes, name: str) -> Pixels:
    """The image as `(h w 3)`; gray, palette and CMYK become RGB, 16 bits keep their upper eight.

    Transparency is dropped and a camera's orientation is not applied, as torchvision's loader does.
    A color JPEG is decoded by simplejpeg where it is installed and by PIL elsewhere, to the same
    pixels in 1.8 and 2.7 ms (40 ImageNet photographs of about 500 x 375, one core, simplejpeg 1.9,
    Pillow 13.0). Torchvision's decoder is as fast, and deprecated.

    Args:
        content: of an image file.
        name: of the image, for the error.

    Raises:
        UnreadableError: it is damaged, cut short or no image.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            if decode_jpeg and image.format == "JPEG" and image.mode == "RGB":
                with suppress(ValueError):  # PIL has the last word on damaged ones
                    return decode_jpeg(content)
            return rgb(image)
    except UnidentifiedImageError:  # whose own words are about a stream in memory
        raise UnreadableError.of(name, "no kind of image that is known here") from None
    except DECODING_ERRORS as error:
        raise UnreadableError.of(name, error) from None


def rgb(image: Image.Image) -> Pixels:
    """The pixels of an image that PIL opened, `(h w 3)`."""
    if image.mode.startswith("I;16") or image.mode == "I":
        upper = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(repeat(upper, "h w -> h w c", c=3))
    if image.mode == "P" and "transparency" in image.info:  # PIL warns of the direct way
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
