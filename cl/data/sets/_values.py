"""What a file's values are, and which of them are black and white."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from einops import rearrange, repeat
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
NPY = b"\x93NUMPY"
WARNED = ("ignore", None, Image.DecompressionBombWarning, None, 0)  # a filter of warnings
SIXTEEN = ("PNG", "PPM")  # whose gray values are of 16 bits where PIL says 32
MAX_PIXELS = 89_478_485  # of an image; a quarter of a gigabyte of RGB, from where on PIL warns


@dataclass(frozen=True)
class Decoding:
    """How image files become pixels.

    Args:
        value_range: the values that become 0 and 255, others are cut off; None goes by the type:
            of 8 bits all, of 16 the upper eight, of 32 bits and floats 0 to 255, as PIL does.
        channels: of an image; None is RGB, and arrays in files are no images.
        exif_orientation: whether an image is turned as its camera says.
        max_pixels: of an image; a larger one is refused before it is decoded. What is read is the
            same with any limit, so it is no part of what makes two ways of decoding different.
    """

    value_range: tuple[float, float] | None = None
    channels: int | None = None
    exif_orientation: bool = False
    max_pixels: int = field(default=MAX_PIXELS, compare=False, repr=False)

    def describe(self) -> str:
        """What is not usual, in words."""
        said = []
        if self.value_range:
            said.append("values {:g} to {:g}".format(*self.value_range))
        if self.channels:
            said.append(f"{self.channels} channels" + ", no color changes" * (self.channels != 3))
        if self.exif_orientation:
            said.append("turned as their cameras say (EXIF)")
        return ", ".join(said)


DECODING = ("value_range", "channels", "exif_orientation")  # the flags, by the same names
RGB = Decoding()
TURNED = Decoding(exif_orientation=True)


def opened(content: bytes, how: Decoding) -> Image.Image:
    """An image file opened by PIL and not decoded yet.

    Raises:
        ValueError: it has more pixels than are allowed.
        Exception: whatever damaged bytes raise.
    """
    bound_pil(how)
    try:
        image = Image.open(BytesIO(content))
    except Image.DecompressionBombError:
        raise ValueError(too_large(how)) from None
    check_size(image.size, how)
    return image


def bound_pil(how: Decoding) -> None:
    """Let PIL refuse larger images itself, for data sets that open files by themselves."""
    Image.MAX_IMAGE_PIXELS = -(-how.max_pixels // 2)  # PIL warns from here on, and refuses
    if WARNED not in warnings.filters:  # from twice as many on
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def check_size(size: Sequence[int], how: Decoding) -> None:
    """Refuse an image of this width and height if it has more pixels than are allowed."""
    if size[0] * size[1] > how.max_pixels:
        raise ValueError(f"{too_large(how)}, {size[0]} x {size[1]}")


def too_large(how: Decoding) -> str:
    """What is wrong with an image of more pixels than are allowed."""
    return f"it has more pixels than --max_pixels {how.max_pixels} allows"


def array_in(content: bytes, how: Decoding) -> Values:
    """The values `(h w c)` of an array as `numpy.save` writes it.

    Raises:
        ValueError: it is of another shape, or has more pixels than are allowed.
    """
    x = with_channels(np.load(BytesIO(content), allow_pickle=False), how.channels or 3)
    check_size((x.shape[1], x.shape[0]), how)
    return x


def with_channels(x: Values, channels: int) -> Values:
    """An array `(h w)`, `(h w c)` or `(c h w)` as `(h w c)`; one channel stands for three.

    Raises:
        ValueError: it is of another shape.
    """
    x = x[..., None] if x.ndim == 2 else x
    for number in (channels, 1) if channels == 3 and x.ndim == 3 else (channels,):
        if x.ndim == 3 and number in (x.shape[2], x.shape[0]):
            x = x if x.shape[2] == number else rearrange(x, "c h w -> h w c")
            return x if number == channels else np.repeat(x, channels, axis=2)
    raise ValueError(f"an array of shape {x.shape} has no {channels} channels")


def values_of(image: Image.Image, how: Decoding) -> Values:
    """The values of a PIL image, `(h w c)`; 8 bits, unless it is gray.

    Raises:
        ValueError: it has not the channels that are asked for, more pixels than are allowed, or
            PIL reads a part of its bits.
    """
    check_size(image.size, how)
    wanted = how.channels or 3
    if how.value_range and len(image.getbands()) > 1 and "16" in repr(getattr(image, "tile", "")):
        raise ValueError(
            "PIL reads only the upper eight of its 16 bits, which have no --value_range; save the "
            "array by numpy.save, and give --channels"
        )
    if wanted not in (1, 3):
        return bands_of(image, wanted, how)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN):
        gray: Values = np.asarray(image).clip(0).astype(np.uint16)
    elif image.mode in ("I", "F"):
        gray = np.asarray(image)
    else:
        return eight_bits(image, "RGB" if wanted == 3 else "L")
    return repeat(gray, "h w -> h w c", c=wanted)


def bands_of(image: Image.Image, channels: int, how: Decoding) -> Values:
    """The bands of an image, or of its pages the one band of each, `(h w c)`."""
    pages = getattr(image, "n_frames", 1)
    if len(image.getbands()) == channels:
        return np.array(image)
    if pages == channels:
        return np.stack([page_of(image, number, how) for number in range(pages)], axis=-1)
    raise ValueError(
        f"its {len(image.getbands())} bands on {pages} pages are not the {channels} of --channels"
    )


def page_of(image: Image.Image, number: int, how: Decoding) -> Values:
    """The values of a page, `(h w)`."""
    image.seek(number)
    check_size(image.size, how)
    if len(image.getbands()) > 1:
        raise ValueError(f"its page {number} has {len(image.getbands())} bands, and may have one")
    return np.array(image)


def eight_bits(image: Image.Image, mode: str) -> Pixels:
    """The image converted as PIL does; transparency is dropped."""
    if image.mode == "P" and "transparency" in image.info:  # PIL warns of the direct way
        image = image.convert("RGBA")
    pixels = np.array(image.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def scaled(values: Values, name: str, how: Decoding) -> Pixels:
    """Values as bytes: those of the range become 0 to 255, others are cut off.

    Raises:
        ValueError: a value is not finite.
    """
    if values.dtype == np.uint8 and how.value_range is None:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("some of its values are not finite")
    pixels = to_bytes(values, how.value_range)
    if values.size and pixels.min() == pixels.max() and values.min() != values.max():
        warnings.warn(
            f"{name}: its values from {values.min():g} to {values.max():g} all become "
            f"{pixels.min()}; --value_range says which become 0 and 255",
            stacklevel=2,
        )
    return pixels


def to_bytes(values: Values, value_range: Sequence[float] | None) -> Pixels:
    """Values as bytes; without a range, of 16 bits the upper eight, of others 0 to 255."""
    if value_range is not None:
        low, high = value_range
        x = (values.astype(np.float64) - low) * (255 / (high - low))
        return np.ascontiguousarray(x.round().clip(0, 255).astype(np.uint8))
    shift = 8 * (values.dtype == np.uint16)
    x = values >> 8 if shift else values
    return np.ascontiguousarray(x.clip(0, 255).astype(np.uint8))
