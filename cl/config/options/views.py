"""Options of the views: augmentations and crops of a sample."""

from dataclasses import dataclass
from typing import Literal

from cl.config import datasets
from cl.config.options._needs import OF_IMAGES, OF_PAIRS, WITH_IMAGES
from cl.config.schema import flag

MULTICROP = ("multicrop", (True,))
PRESET = "the preset's"


@dataclass(frozen=True, kw_only=True)
class ViewsOptions:
    """How the views of a sample are made; what is not given is the preset's."""

    recipe: str | None = flag(
        "augmentations of a paper; size, mean and standard deviation stay the data set's",
        None,
        choices=datasets.recipes,
        common=True,
        shown="the data set's",
        needs=WITH_IMAGES,
    )
    jitter_order: Literal["random", "fixed"] | None = flag(
        "order of brightness, contrast, saturation and hue: drawn for each view, or this one",
        None,
        shown="random",
        needs=WITH_IMAGES,
    )
    brightness: float | None = flag(
        "largest change of the brightness", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    contrast: float | None = flag(
        "largest change of the contrast", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    saturation: float | None = flag(
        "largest change of the saturation", None, low=0, shown=PRESET, needs=WITH_IMAGES
    )
    hue: float | None = flag(
        "largest change of the hue, as a fraction of the color circle",
        None,
        low=0,
        high=0.5,
        shown=PRESET,
        needs=WITH_IMAGES,
    )
    crop_scale: tuple[float, float] | None = flag(
        "range of the fraction of the image's area that a crop covers",
        None,
        above=0,
        high=1,
        shown=PRESET,
        metavar=("MIN", "MAX"),
        needs=WITH_IMAGES,
    )
    crop_interpolation: Literal["bilinear", "bicubic"] | None = flag(
        "how the crops of training views are resized, with antialiasing; plain images, which are "
        "no crops, have --interpolation of main_linear.py",
        None,
        shown=PRESET,
        needs=WITH_IMAGES,
    )
    crop_size: int | None = flag(
        "side of a full-size view in pixels; smaller views than --image_size train faster",
        None,
        low=8,
        shown="--image_size",
        needs=WITH_IMAGES,
    )
    flip_prob: float | None = flag(
        "probability that a view is mirrored", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    grayscale_prob: float | None = flag(
        "probability that a view is gray", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    blur_prob: float | None = flag(
        "probability that a view is blurred", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    solarize_prob: float | None = flag(
        "probability that a view is solarized", None, low=0, high=1, shown=PRESET, needs=WITH_IMAGES
    )
    n_crops: int = flag("full-size views of a sample", 2, low=2, needs=OF_IMAGES)
    multicrop: bool = flag(
        "add small views (multi-crop of SwAV, https://arxiv.org/abs/2006.09882)",
        False,
        common=True,
        needs=OF_IMAGES,
    )
    hard_negatives: int | None = flag(
        "hard negatives of a pair in a step, of those that the data have, for a loss of several "
        "sides",
        None,
        low=0,
        needs=OF_PAIRS,
        shown="as many as every pair has, where the loss takes them",
    )
    n_small_crops: int = flag("small views of a sample", 6, low=1, needs=MULTICROP)
    small_crop_size: int | None = flag(
        "side of a small view in pixels",
        None,
        low=4,
        needs=MULTICROP,
        shown="3/7 of the full-size views, 96 at 224",
    )
    small_crop_scale: tuple[float, float] | None = flag(
        "range of the fraction of the image's area that a small view covers",
        None,
        above=0,
        high=1,
        needs=MULTICROP,
        shown="0.05 0.14 (SwAV), with --recipe sigmoid 0.05 1",
        metavar=("MIN", "MAX"),
    )
