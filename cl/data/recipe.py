"""A recipe of views: numbers, not code, so that every backend executes the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How views of one size are made; the defaults are SimCLR's (Chen et al. 2020, appendix A).

    In this order: a random resized crop, a flip, colour jitter in random order, gray, blur,
    solarisation, normalisation.

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
        grayscale: probability of a gray image.
        blur: probability of a Gaussian blur over a tenth of the side.
        blur_sigma: its deviation in pixels, between these, uniform.
        solarise: probability of inverting what is brighter than one half.
        mean: of the channels, subtracted.
        std: of the channels, divided by.
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
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    @property
    def blur_kernel(self) -> int:
        """Width of the blur in pixels: a tenth of the side, odd, at least three."""
        return max(3, round(self.size / 10) // 2 * 2 + 1)

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
                self.solarise,
            ]
        )


Known = Literal["digits", "cifar10", "cifar100", "stl10", "imagenet100", "imagenet", "folder"]


def preset(dataset: Known) -> Recipe:
    """The recipe of a data set.

    CIFAR has no blur (SimCLR, B.9) and crops from a fifth of the area (solo-learn's recipes);
    digits have no colour and no mirror image.
    """
    if dataset == "digits":
        return Recipe(
            size=16,
            crop_scale=(0.5, 1.0),
            flip=0.0,
            brightness=0.4,
            contrast=0.4,
            saturation=0.0,
            hue=0.0,
            grayscale=0.0,
            blur=0.0,
            mean=(0.305, 0.305, 0.305),
            std=(0.376, 0.376, 0.376),
        )
    if dataset == "cifar10":
        mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
        return Recipe(size=32, crop_scale=(0.2, 1.0), blur=0.0, mean=mean, std=std)
    if dataset == "cifar100":
        mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
        return Recipe(size=32, crop_scale=(0.2, 1.0), blur=0.0, mean=mean, std=std)
    if dataset == "stl10":
        mean, std = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)
        return Recipe(size=96, mean=mean, std=std)
    return Recipe(size=224)
