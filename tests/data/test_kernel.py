"""Each operation of the kernel against torchvision's on floats, and a whole recipe."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as of_pil
from torchvision.transforms.v2 import functional as F

from cl.data.augment import torchvision as by_torchvision
from cl.data.augment.cpu import JITTER, VIEW, draw, render, render_bands
from cl.data.augment.recipe import Recipe
from tests.data.made import picture

TOLERANCE = 1e-3 / 255
# Top, left, height and width of a crop, and the side of its view: larger, smaller, and as they are.
WINDOWS = [
    ((0, 0, 40, 60), 40),
    ((3, 5, 31, 47), 16),
    ((7, 2, 13, 17), 32),
    ((0, 0, 1, 1), 8),
    ((9, 0, 31, 7), 19),
    ((2, 3, 32, 32), 32),
    ((0, 0, 40, 60), 3),
]


def neutral(height: int, width: int) -> np.void:
    p = np.zeros((), VIEW)
    p["height"], p["width"], p["order"] = height, width, range(4)
    for name in ("brightness", "contrast", "saturation"):
        p[name] = 1
    return p[()]


def plain(size: int, width: int, how: Any = "bilinear") -> np.void:
    """A recipe that leaves the numbers as they are, with a blur of that width."""
    unit = {"mean": (0, 0, 0), "std": (1, 1, 1), "crop_interpolation": how}
    recipe = Recipe(size=size).changed(unit).record
    recipe["blur_kernel"] = width
    return recipe


def rendered(image: Any, p: Any, size: int, width: int = 3, how: str = "bilinear") -> Tensor:
    out = np.empty((3, size, size), np.float32)
    render(image, p, plain(size, width, how), out)
    return torch.from_numpy(out)


def floats(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def reference(
    image: np.ndarray, p: np.void, size: int, width: int, how: str = "bilinear"
) -> Tensor:
    """The view by torchvision."""
    out = np.empty((3, size, size), np.float32)
    by_torchvision.render(image, p, plain(size, width, how), out)
    return torch.from_numpy(out)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().mean())


def cropped(window: tuple[int, int, int, int]) -> np.void:
    p = neutral(40, 60)
    for name, value in zip(("top", "left", "height", "width"), window, strict=True):
        p[name] = value
    return p


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_crop_and_resize(window: tuple[int, int, int, int], size: int, how: str) -> None:
    image, p = picture(40, 60), cropped(window)
    found = rendered(image, p, size, how=how)
    assert error(found, reference(image, p, size, 3, how)) < TOLERANCE
    p["flip"] = 1
    assert torch.equal(rendered(image, p, size, how=how), found.flip(-1))
    assert error(found.flip(-1), reference(image, p, size, 3, how)) < TOLERANCE


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_crops_are_those_of_an_image_of_pil(
    window: tuple[int, int, int, int], size: int, how: str
) -> None:
    """As RandomResizedCrop gets them, but for its rounding to levels, once down and once across."""
    image, mode = picture(40, 60), InterpolationMode(how)
    pil = of_pil.resized_crop(Image.fromarray(image), *window, [size, size], mode)
    found = rendered(image, cropped(window), size, how=how)
    assert error(found, floats(np.array(pil))) < 0.35 / 255


@pytest.mark.parametrize(("window", "size"), WINDOWS)
def test_a_cubic_is_clamped(window: tuple[int, int, int, int], size: int) -> None:
    """Of black and white dots, beyond which it is by tenths; torchvision's own does not cut it."""
    dots = np.random.default_rng(0).integers(0, 2, (40, 60, 3)).astype(np.uint8) * 255
    p = cropped(window)
    found = rendered(dots, p, size, how="bicubic")
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    top, left, height, width = window
    part, mode = floats(dots)[:, top : top + height, left : left + width], InterpolationMode.BICUBIC
    free = F.resize(part, [size, size], mode, antialias=True)
    assert error(found, free.clamp(0, 1)) < TOLERANCE


def test_crops_of_other_channels_are_resized_alike() -> None:
    image, p = picture(40, 60), cropped((3, 5, 31, 47))
    four = np.concatenate([image, image[..., :1]], axis=-1)
    unit = {"mean": (0,) * 4, "std": (1,) * 4, "crop_interpolation": "bicubic"}
    out = np.empty((4, 24, 24), np.float32)
    render_bands(four, p, Recipe(size=24).changed(unit).record, out)
    found = torch.from_numpy(out)
    assert error(found[:3], rendered(image, p, 24, how="bicubic")) < TOLERANCE
    assert torch.equal(found[3], found[0])


@pytest.mark.parametrize("name", JITTER)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_jitter(name: str, share: float) -> None:
    image, p = picture(32, 32), neutral(32, 32)
    p["jitter"] = True
    low, high = (-0.5, 0.5) if name == "hue" else (0.0, 1.9)
    p[name] = low + share * (high - low)
    assert error(rendered(image, p, 32), reference(image, p, 32, 3)) < TOLERANCE


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_jitter_in_any_order(order: tuple[int, ...]) -> None:
    image, p = picture(32, 32), neutral(32, 32)
    p["jitter"] = True
    p["order"] = order
    for name, factor in zip(JITTER, (1.6, 0.5, 1.7, 0.15), strict=True):
        p[name] = factor
    assert error(rendered(image, p, 32), reference(image, p, 32, 3)) < TOLERANCE


def test_no_jitter_leaves_the_factors_unused() -> None:
    image, p = picture(32, 32), neutral(32, 32)
    for name, factor in zip(JITTER, (1.6, 0.5, 1.7, 0.15), strict=True):
        p[name] = factor
    assert error(rendered(image, p, 32), floats(image)) < 1e-6


def test_gray_and_solarized() -> None:
    image = picture(32, 32)
    for name in ("gray", "solarize"):
        p = neutral(32, 32)
        p[name] = True
        assert error(rendered(image, p, 32), reference(image, p, 32, 3)) < TOLERANCE


@pytest.mark.parametrize(("sigma", "width"), [(0.1, 3), (0.7, 3), (1.3, 9), (2.0, 23)])
def test_blur(sigma: float, width: int) -> None:
    image, p = picture(48, 48), neutral(48, 48)
    p["sigma"] = sigma
    assert error(rendered(image, p, 48, width), reference(image, p, 48, width)) < TOLERANCE


def test_normalization() -> None:
    image, recipe = picture(32, 32), Recipe(size=32)
    found = np.empty((3, 32, 32), np.float32)
    render(image, neutral(32, 32), recipe.record, found)
    expected = F.normalize(floats(image), list(recipe.mean), list(recipe.std))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)


def test_a_whole_recipe() -> None:
    recipe = Recipe(size=64, solarize=0.3)
    image, p, errors = picture(120, 90), np.empty((), VIEW)[()], []
    for sample in range(50):
        draw(recipe.record, 0, 1, sample, 0, 120, 90, p)
        found = rendered(image, p, 64, recipe.blur_kernel)
        errors.append(error(found, reference(image, p, 64, recipe.blur_kernel)))
    # Where a pixel stands at one half itself, rounding decides whether it is inverted.
    assert max(errors) <= 0.5 / 255
    assert float(np.median(errors)) <= TOLERANCE
