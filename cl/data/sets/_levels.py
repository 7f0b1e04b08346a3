"""Whether the values of image files are used: measured on a sample of them."""

import math
import warnings
from collections.abc import Iterator

import numpy as np

from cl.data.sets._images import Images
from cl.data.sets._values import NPY, Decoding, Values, array_in, opened, to_bytes, values_of

SAMPLED = 32  # files, spread evenly over a part
FEWEST = 32  # gray levels, below which something is probably lost
WHOLE = ("uint8", "uint16")  # types whose values are all used without a range


def measure_range(images: Images) -> tuple[float, float]:
    """The least and the greatest value of the sample.

    Raises:
        ValueError: the images are not in files, cannot be read, or have one value.
    """
    if images.files is None:
        raise ValueError("--value_range auto: the images are in memory; give MIN MAX")
    finite = [x[np.isfinite(x)] for x in sampled_values(images)]
    ends = [(float(x.min()), float(x.max())) for x in finite if x.size]
    low, high = min((a for a, _ in ends), default=0.0), max((b for _, b in ends), default=0.0)
    if not low < high:
        raise ValueError(f"--value_range auto: all values of {len(ends)} images are {low:g}")
    return low, high


def measure_statistics(images: Images) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation of every channel of a sample, of values in 0 to 1.

    Sums and sums of squares are whole numbers, so that their difference cancels nothing.
    """
    number, (sums, squares) = 0, np.zeros((2, images.channels), np.int64)
    for at in np.unique(np.linspace(0, len(images) - 1, SAMPLED, dtype=int)).tolist():
        x = images.pixel(at)
        number += x.shape[0] * x.shape[1]
        sums += np.einsum("hwc->c", x, dtype=np.int64)
        squares += np.einsum("hwc,hwc->c", x, x, dtype=np.int64)
    each = [*zip(sums.tolist(), squares.tolist(), strict=True)]
    std = [math.sqrt((number * q - s * s) / number**2) for s, q in each]
    mean = tuple(s / number / 255 for s, _ in each)
    return {"mean": mean, "std": tuple(max(x, 1.0) / 255 for x in std)}  # 1 of a constant channel


def check_levels(images: Images, name: str) -> None:
    """Warn if images become few gray levels, or if values are cut off that no flag cuts off."""
    used, ends, cut, number = np.zeros(256, bool), list[float](), False, 0
    for x in (x for x in sampled_values(images) if x.size):
        pixels = to_bytes(x, images.decoding.value_range) if x.dtype != np.uint8 else x
        used |= np.bincount(pixels.ravel(), minlength=256) > 0
        ends += [float(x.min()), float(x.max())]
        cut |= x.dtype.name not in WHOLE and not 0 <= min(ends) <= max(ends) <= 255
        number += 1
    cut &= images.decoding.value_range is None
    if not number or not (cut or used.sum() < FEWEST):
        return
    what = f"hold {used.sum()} gray levels" if used.sum() < FEWEST else "are cut off at 0 and 255"
    warnings.warn(
        f"DATASET {name}: {number} sampled images, of values from {min(ends):g} to {max(ends):g}, "
        f"{what}; --value_range MIN MAX says which values become black and white, --value_range "
        "auto measures them",
        stacklevel=3,
    )


def sampled_values(images: Images) -> Iterator[Values]:
    """The values `(h w c)` in the files of the sample; files that cannot be read are passed over.

    They are said when all files are checked.
    """
    assert images.files is not None
    for at in np.unique(np.linspace(0, len(images) - 1, SAMPLED, dtype=int)).tolist():
        try:
            yield values_in_file(images.files.read(at), images.decoding)
        except Exception:  # damaged bytes can raise anything
            continue


def values_in_file(content: bytes, how: Decoding) -> Values:
    """The values of a file, before they become bytes."""
    if content.startswith(NPY):
        return array_in(content, how)
    with opened(content, how) as image:
        return values_of(image, how)
