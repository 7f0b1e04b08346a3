"""Decode an image of any mode to RGB pixels; an error names what cannot be decoded."""

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from cl.data.sets._values import NPY, RGB, Decoding, Pixels, array_in, opened, scaled, values_of

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg: Any = None

SLOWER = (
    "simplejpeg is not installed: PIL decodes JPEGs, to the same pixels in 1.5 times the time; "
    "pip install simplejpeg"
)
# Those of torchvision's ImageFolder, and more that PIL opens.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SUFFIXES += (".gif", ".avif", ".jfif", ".jpe", ".jp2", ".j2k", ".pbm", ".pnm", ".tga")
ARRAY = ".npy"
# Of EXIF's orientations: where rows and columns change places, and then the steps along both.
TRANSPOSED = (5, 6, 7, 8)
FLIPPED = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
# What PIL raises for damaged images.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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


def suffixes_of(how: Decoding) -> tuple[str, ...]:
    """The endings of image files; arrays are images where their channels are said."""
    return (*SUFFIXES, ARRAY) if how.channels else SUFFIXES


def decode(content: bytes, name: str, how: Decoding = RGB) -> Pixels:
    """The image as `(h w 3)`, or with the channels that are asked for.

    Gray, palette and CMYK become RGB, transparency is dropped, of an animation the first picture is
    taken. Without a range of values, 16 bits keep their upper eight and others are as PIL converts
    them. A color JPEG is decoded by simplejpeg where it is installed and by PIL elsewhere, to the
    same pixels in 1.8 and 2.7 ms (40 ImageNet photographs of about 500 x 375, one core, simplejpeg
    1.9, Pillow 13.0). Torchvision's decoder is as fast, and deprecated.

    Args:
        content: of an image file, or of an array as `numpy.save` writes it.
        name: of the image, for the error.
        how: range of values, channels, orientation, the largest number of pixels.

    Raises:
        UnreadableError: it is damaged, cut short, too large or no image, or not of these channels.
    """
    try:
        if content.startswith(NPY):
            x = array_in(content, how)
            if how.value_range is None and x.dtype not in (np.uint8, np.uint16):
                raise ValueError(f"values of {x.dtype} need --value_range MIN MAX, or auto")
            return scaled(x, name, how)
        with opened(content, how) as image:
            return pixels_in(image, content, name, how)
    except UnidentifiedImageError:  # whose own words are about a stream in memory
        raise UnreadableError.of(name, "no kind of image that is known here") from None
    except Exception as error:  # damaged bytes can raise anything
        raise UnreadableError.of(name, error) from None


def pixels_in(image: Image.Image, content: bytes, name: str, how: Decoding) -> Pixels:
    """The pixels of an image file that PIL opened."""
    if decode_jpeg and is_color_jpeg(image, how):
        with suppress(ValueError):  # PIL has the last word on damaged ones
            pixels = decode_jpeg(content)
            return turned(pixels, image) if how.exif_orientation else pixels
    return pixels_of_pil(image, name, how)


def is_color_jpeg(image: Image.Image, how: Decoding) -> bool:
    """Whether a decoder of JPEGs gives the pixels that are asked for, before they are turned."""
    plain = how.value_range is None and how.channels in (None, 3)
    return plain and image.format == "JPEG" and image.mode == "RGB"


def is_upright_jpeg(image: Image.Image, how: Decoding) -> bool:
    """Whether a decoder of JPEGs gives the pixels that are asked for."""
    return is_color_jpeg(image, how) and (not how.exif_orientation or orientation_of(image) == 1)


def ppm(pixels: Pixels) -> bytes:
    """Pixels `(h w 3)` as a PPM file, which is the pixels behind a line."""
    return b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()


def pixels_of_pil(image: Image.Image, name: str, how: Decoding = RGB) -> Pixels:
    """The pixels of a PIL image, `(h w c)`.

    Raises:
        ValueError: it has other channels, or more bits than PIL reads.
    """
    pixels = scaled(values_of(image, how), name, how)
    return turned(pixels, image) if how.exif_orientation else pixels


def turned(pixels: Pixels, image: Image.Image) -> Pixels:
    """The pixels as the camera was held; PIL has turned a TIFF by itself."""
    orientation = orientation_of(image)
    if orientation in TRANSPOSED:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = FLIPPED.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels[::rows, ::columns])


def orientation_of(image: Image.Image) -> int:
    """How the camera was held, 1 for upright, also where it does not say it as it should."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged bytes can raise anything; the image is not damaged
        return 1
