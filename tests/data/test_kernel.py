"""Each operation of the kernel against torchvision's on floats, and a whole recipe."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cl.data.augment import torchvision as by_torchvision
from cl.data.augment.cpu import JITTER, VIEW, draw, render
from cl.data.augment.recipe import Recipe
from tests.data.made import picture

TOLERANCE = 1e-3 / 255


def neutral(height: int, width: int) -> np.void:
    p = np.zeros((), VIEW)
    p["height"], p["width"], p["order"] = height, width, range(4)
    for name in ("brightness", "contrast", "saturation"):
        p[name] = 1
    return p[()]


def plain(size: int, width: int) -> np.void:
    """A recipe that leaves the numbers as they are, with a blur of that width."""
    recipe = Recipe(size=size, mean=(0, 0, 0), std=(1, 1, 1)).record
    recipe["blur_kernel"] = width
    return recipe


def rendered(image: Any, p: Any, size: int, width: int = 3) -> Tensor:
    out = np.empty((3, size, size), np.float32)
    render(image, p, plain(size, width), out)
    return torch.from_numpy(out)


def floats(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def reference(image: np.ndarray, p: np.void, size: int, width: int) -> Tensor:
    """The view by torchvision."""
    out = np.empty((3, size, size), np.float32)
    by_torchvision.render(image, p, plain(size, width), out)
    return torch.from_numpy(out)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().mean())


@pytest.mark.parametrize(
    ("window", "size"),
    [
        ((0, 0, 40, 60), 40),
        ((3, 5, 31, 47), 16),
        ((7, 2, 13, 17), 32),
        ((0, 0, 1, 1), 8),
        ((9, 0, 31, 7), 19),
        ((2, 3, 32, 32), 32),
    ],
)
def test_crop_and_resize(window: tuple[int, ...], size: int) -> None:
    image, p = picture(40, 60), neutral(40, 60)
    for name, value in zip(("top", "left", "height", "width"), window, strict=True):
        p[name] = value
    assert error(rendered(image, p, size), reference(image, p, size, 3)) < TOLERANCE
    p["flip"] = 1
    assert error(rendered(image, p, size), reference(image, p, size, 3)) < TOLERANCE


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
