"""A recipe of views: numbers, not code, so that every backend executes the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from cl.data.sets import DEFAULTS, dataset_row

Channels = tuple[float, ...]  # a number for each
# Groups of parameters that a view can share with the first view of its sample; see `Recipe.shared`.
GROUPS = ("crop", "flip", "color", "blur", "solarize")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How views of one size are made; the defaults are SimCLR's (Chen et al. 2020, appendix A).

    But for the interpolation, in which they are torchvision's RandomResizedCrop's.

    In this order: a random resized crop, a flip, color jitter, gray, blur, solarization,
    normalization.

    Args:
        size: side of a view in pixels.
        views: how many of a sample.
        crop_scale: range of the crop's area, as a fraction of the image's; uniform.
        crop_ratio: range of the crop's width over its height; log-uniform.
        crop_interpolation: how crops are resized; antialiased, bicubic by Keys' kernel of a = -1/2.
        flip: probability of a horizontal flip.
        jitter: probability of color jitter.
        brightness: the factor is uniform in 1 +- this; likewise `contrast` and `saturation`.
        contrast: see `brightness`.
        saturation: see `brightness`.
        hue: the hue is turned by a part of the circle, uniform in +- this.
        jitter_order: of the four, `random` for each view (torchvision's) or `fixed` as listed.
        grayscale: probability of a gray image.
        blur: probability of a Gaussian blur; its kernel is a tenth of the side wide.
        blur_sigma: range of its standard deviation in pixels; uniform.
        solarize: probability of inverting the values of one half and above.
        mean: of each channel, subtracted.
        std: of each channel, divided by. Where there are not three, no color is changed.
        central: part of the shorter side of a plain image that is used; None is 7/8 of images above
            64 px, as 224 of 256, and all of smaller ones.
        interpolation: how plain images are resized, which are no crops.
        shared: groups of parameters, of `GROUPS`, that these views take over from the first view
            of their sample, whose recipe must be the same in them.
    """

    size: int
    views: int = 2
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    crop_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    jitter_order: Literal["random", "fixed"] = "random"
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    mean: Channels = DEFAULTS["mean"]
    std: Channels = DEFAULTS["std"]
    central: float | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    shared: tuple[str, ...] = ()

    @property
    def blur_kernel(self) -> int:
        """Width of the blur in pixels: a tenth of the side, odd, at least three."""
        return max(3, round(self.size / 10) // 2 * 2 + 1)

    @property
    def channels(self) -> int:
        """How many channels the images have."""
        return len(self.mean)

    def of_channels(self, mean: Channels, std: Channels) -> "Recipe":
        """The recipe for images of other channels than RGB, in which no color is changed."""
        return replace(self, mean=mean, std=std, jitter=0.0, grayscale=0.0, solarize=0.0)

    @property
    def varied(self) -> tuple[str, ...]:
        """Groups of parameters in which two views of a sample differ."""
        color = self.jitter and any((self.brightness, self.contrast, self.saturation, self.hue))
        differ = {
            "crop": self.crop_scale != (1.0, 1.0) or self.crop_ratio[0] != self.crop_ratio[1],
            "flip": 0 < self.flip < 1,
            "color": color or 0 < self.grayscale < 1,
            "blur": 0 < self.blur < 1 or (self.blur and self.blur_sigma[0] != self.blur_sigma[1]),
            "solarize": 0 < self.solarize < 1,
        }
        return tuple(group for group in GROUPS if differ[group])

    def changed(self, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe with some of its fields replaced."""
        return replace(self, **settings)

    @cached_property
    def record(self) -> np.void:
        """The recipe as a record of float64 with its fields' names, as the kernel takes it."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        words = "jitter_order", "crop_interpolation", "shared", "central", "interpolation"
        for name in words:  # they are no numbers
            del values[name]
        values["bicubic"] = self.crop_interpolation == "bicubic"
        values["random_order"] = self.jitter_order == "random"
        values["crop_log_ratio"] = np.log(self.crop_ratio)
        values["blur_kernel"] = self.blur_kernel
        layout = [(name, np.float64, np.shape(value)) for name, value in values.items()]
        groups = [(group, np.bool_) for group in GROUPS]
        shared = tuple(group in self.shared for group in GROUPS)
        return np.array([(*values.values(), shared)], [*layout, ("shared", groups)])[0]


BICUBIC = {"crop_interpolation": "bicubic"}
# Crops and color of BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733, appendix B), whose
# two views differ in blur and solarization; the official Barlow Twins and VICReg took them over (of
# facebookresearch/vicreg augmentations.py, commit cc1ef4f).
BYOL = {**BICUBIC, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
ASYMMETRIC = ({**BYOL, "blur": 1.0}, {**BYOL, "blur": 0.1, "solarize": 0.2})
# What a paper changes of the defaults, for the full-size views in turn. The official codes of
# SimCLR, BYOL, Barlow Twins and VICReg crop bicubically, of the first two without antialiasing.
PAPERS: dict[str, tuple[dict[str, Any], ...]] = {
    "simclr": (BICUBIC,),
    "byol": ASYMMETRIC,
    "barlow_twins": ASYMMETRIC,
    "vicreg": ASYMMETRIC,
    # MoCo v2's (Chen et al. 2020, https://arxiv.org/abs/2003.04297), which SimSiam uses.
    "simsiam": (
        {"crop_scale": (0.2, 1.0), "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
        | {"hue": 0.1},
    ),
    # Caron et al. 2020, https://arxiv.org/abs/2006.09882, and its code; for `--multicrop`.
    "swav": ({"crop_scale": (0.14, 1.0)},),
    # The code of the modulated sigmoid loss (Basara, sigmoid-contrastive-loss).
    "sigmoid": ({"crop_scale": (0.1, 1.0), "blur": 1.0, "solarize": 0.2},),
}
# Those of them that cropped bilinearly before the interpolation was a setting, as their runs go on.
BILINEAR_BEFORE: tuple[str, ...] = ("simclr", "byol", "barlow_twins", "vicreg")
SMALL_SCALE = {"sigmoid": (0.05, 1.0)}  # of small crops, where it is not SwAV's
SWAV_SMALL = (0.05, 0.14)
SMALL_BLUR = 0.5  # of small crops, where full-size views differ in it; DINO's and SwAV's


def preset(dataset: str) -> Recipe:
    """The recipe of a data set; what its row does not say is SimCLR's for ImageNet.

    Raises:
        ValueError: there is no such data set, or its row says what no recipe has.
    """
    row, known = dataset_row(dataset), [field.name for field in fields(Recipe)]
    for name in row["recipe"]:
        if name not in known:
            raise ValueError(
                f"DATASET {dataset}: ROW's recipe has {name}; choose from {', '.join(known)}."
            )
    return Recipe(size=row["size"], mean=row["mean"], std=row["std"], **row["recipe"])


def full_size(dataset: str, paper: str | None, views: int) -> list[Recipe]:
    """The recipes of the full-size views, which a paper's recipes share in turn.

    Args:
        dataset: whose size, mean and deviation are kept, and without a paper everything.
        paper: a name in `PAPERS`.
        views: how many of a sample, at least as many as the paper has recipes.
    """
    own = preset(dataset)
    if paper is None:
        return [own.changed({"views": views})]
    plain = Recipe(size=own.size, mean=own.mean, std=own.std)
    changes = PAPERS[paper]
    shares = [len(range(i, views, len(changes))) for i in range(len(changes))]
    return [plain.changed(c | {"views": n}) for c, n in zip(changes, shares, strict=True)]
