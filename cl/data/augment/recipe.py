"""A recipe of views: numbers, not code, so that every backend executes the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cl.data.augment.draw import GROUPS
from cl.data.sets import DEFAULTS, row_of

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How views of one size are made; the defaults are SimCLR's (Chen et al. 2020, appendix A).

    In this order: a random resized crop, a flip, colour jitter, gray, blur,
    solarization, normalisation.

    Args:
        size: side of a view in pixels.
        views: how many of a sample.
        crop_scale: share of the image's area a crop keeps, between these.
        crop_ratio: its width over its height, between these, log-uniform.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        brightness: factor uniform in 1 +- this; so `contrast` and `saturation`.
        contrast: see `brightness`.
        saturation: see `brightness`.
        hue: turn of the hue, uniform in +- this, in circles.
        jitter_order: of the four, `random` for each view (torchvision's) or `fixed` as listed.
        grayscale: probability of a gray image.
        blur: probability of a Gaussian blur over a tenth of the side.
        blur_sigma: its deviation in pixels, between these, uniform.
        solarize: probability of inverting what is brighter than one half.
        mean: of the channels, subtracted.
        std: of the channels, divided by.
        shared: groups of parameters (`cl.data.augment.draw.GROUPS`) that these views have as the
            first view of their sample has them; its recipe is the same in these.
    """

    size: int
    views: int = 2
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
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
    mean: Triple = DEFAULTS["mean"]
    std: Triple = DEFAULTS["std"]
    shared: tuple[str, ...] = ()

    @property
    def blur_kernel(self) -> int:
        """Width of the blur in pixels: a tenth of the side, odd, at least three."""
        return max(3, round(self.size / 10) // 2 * 2 + 1)

    @property
    def varied(self) -> tuple[str, ...]:
        """Groups of parameters in which two views of a sample differ."""
        colour = self.jitter and any((self.brightness, self.contrast, self.saturation, self.hue))
        differ = {
            "crop": self.crop_scale != (1.0, 1.0) or self.crop_ratio[0] != self.crop_ratio[1],
            "flip": 0 < self.flip < 1,
            "color": colour or 0 < self.grayscale < 1,
            "blur": 0 < self.blur < 1 or (self.blur and self.blur_sigma[0] != self.blur_sigma[1]),
            "solarize": 0 < self.solarize < 1,
        }
        return tuple(group for group in GROUPS if differ[group])

    def changed(self, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe with other numbers."""
        return replace(self, **settings)

    def numbers(self) -> npt.NDArray[np.float64]:
        """What the kernel needs to draw a view's parameters."""
        return np.array(
            [
                *self.crop_scale,
                *np.log(self.crop_ratio),
                self.flip,
                self.jitter,
                self.brightness,
                self.contrast,
                self.saturation,
                self.hue,
                self.grayscale,
                self.blur,
                *self.blur_sigma,
                self.solarize,
                self.jitter_order == "random",
                sum(1 << GROUPS.index(group) for group in self.shared),
            ]
        )


# Colour of BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733, appendix B), whose two views
# differ in blur and solarization; the official Barlow Twins and VICReg took it over.
BYOL = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
ASYMMETRIC = ({**BYOL, "blur": 1.0}, {**BYOL, "blur": 0.1, "solarize": 0.2})
# What a paper changes of SimCLR's recipe, for the full-size views in turn.
PAPERS: dict[str, tuple[dict[str, Any], ...]] = {
    "simclr": ({},),
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
SMALL_SCALE = {"sigmoid": (0.05, 1.0)}  # of small crops, where it is not SwAV's
SWAV_SMALL = (0.05, 0.14)


def preset(dataset: str) -> Recipe:
    """The recipe of a data set; what its row does not say is SimCLR's for ImageNet.

    Raises:
        ValueError: there is no such data set, or its row says what no recipe has.
    """
    row, known = row_of(dataset), [field.name for field in fields(Recipe)]
    for name in row["recipe"]:
        if name not in known:
            raise ValueError(
                f"DATASET {dataset}: ROW's recipe has {name}, allowed {', '.join(known)}"
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
