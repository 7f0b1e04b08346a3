"""Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; a fifth of every class validates."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from einops import rearrange, repeat

from cl.data.sets._images import Images
from cl.data.sets._source import Source, Where
from cl.data.sets._split import split

FIFTH = 0.2
ROW = {
    "help": "1,797 handwritten digits, 10 classes; comes with the packages",
    "order": 0,
    "size": 16,
    "mean": (0.305, 0.305, 0.305),
    "std": (0.376, 0.376, 0.376),
    # No color; the mirror image of a digit is none.
    "recipe": {
        "crop_scale": (0.5, 1.0),
        "flip": 0.0,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.0,
        "hue": 0.0,
        "grayscale": 0.0,
        "blur": 0.0,
    },
    "data_folder": False,
}


def read(name: str, _: Where) -> Source:
    """All of them, in memory."""
    spec = find_spec("sklearn")  # its file alone: the package itself loads for two seconds
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the digits come with scikit-learn", name="sklearn")
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",", dtype=np.int64)  # 64 pixels of 0 to 16, and the digit
    gray = rearrange((rows[:, :-1] * (255 / 16)).round().astype(np.uint8), "n (h w) -> n h w", h=8)
    pixels = np.ascontiguousarray(repeat(gray, "n h w -> n h w c", c=3))
    train, val = split(Images(rows[:, -1].copy(), pixels), FIFTH)
    how = {"held_out": FIFTH, "split": "a fifth validates"}
    return Source(name, [str(c) for c in range(10)], train, val, **how)
