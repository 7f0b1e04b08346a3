"""The batched operations against the kernel, with the same numbers; here on the CPU."""

import numpy as np
import pytest
import torch

from cl.data.device import DeviceLoader, render
from cl.data.draw import COUNT, FACTORS, GRAY, JITTER, ORDER, SIGMA, SOLARISE, draw_many
from cl.data.kernel import render as by_kernel
from cl.data.loaders import numbers
from cl.data.memory import MemoryLoader
from cl.data.recipe import Recipe
from cl.data.sampler import Sampler
from tests.data.made import in_memory, picture

TOLERANCE = 1e-3 / 255
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SAMPLES = np.arange(24)


def pixels(height: int, width: int) -> np.ndarray:
    return np.stack([picture(height, width, int(i)) for i in SAMPLES])


def errors(recipe: Recipe, p: np.ndarray, images: np.ndarray, device: str) -> np.ndarray:
    """Mean absolute difference of each sample, in parts of full brightness."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    ours = render(torch.from_numpy(images).to(device), p, recipe).cpu()
    _, blur_width, mean, std = numbers(recipe)
    out = np.empty((len(images), 3, recipe.size, recipe.size), np.float32)
    for image, of_one, to in zip(images, p, out, strict=True):
        by_kernel(image, of_one, blur_width, mean, std, to)
    return (ours - torch.from_numpy(out)).abs().mean(dim=(1, 2, 3)).numpy() * np.mean(recipe.std)


def drawn(recipe: Recipe, height: int, width: int) -> np.ndarray:
    p = np.empty((1, len(SAMPLES), COUNT))
    draw_many(recipe.numbers(), 0, 1, SAMPLES, 0, height, width, p)
    return p[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("height", "width", "size"), [(40, 60, 40), (40, 60, 16), (30, 24, 48)])
def test_crop_resize_and_flip(height: int, width: int, size: int, device: str) -> None:
    recipe = Recipe(size=size, jitter=0, grayscale=0, blur=0)
    p = drawn(recipe, height, width)
    assert errors(recipe, p, pixels(height, width), device).max() < TOLERANCE


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("place", [FACTORS, FACTORS + 1, FACTORS + 2, FACTORS + 3, GRAY, SIGMA])
def test_one_operation(place: int, device: str) -> None:
    """Its own number is drawn, those of the others leave the image as it is."""
    recipe = Recipe(size=32, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0)
    whole = drawn(recipe, 32, 32)
    p = whole.copy()
    p[:, FACTORS : FACTORS + 4], p[:, [GRAY, SIGMA]] = [1, 1, 1, 0], 0
    p[:, place], p[:, JITTER] = whole[:, place], 1
    p[:, ORDER : ORDER + 4] = range(4)
    assert errors(recipe, p, pixels(32, 32), device).max() < TOLERANCE
    unchanged = whole.copy()
    unchanged[:, [JITTER, GRAY, SIGMA]] = 0
    images = torch.from_numpy(pixels(32, 32))
    assert not torch.equal(render(images, p, recipe), render(images, unchanged, recipe))


@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_recipe(device: str) -> None:
    recipe = Recipe(size=64, solarise=0.3)
    p = drawn(recipe, 120, 90)
    found = errors(recipe, p, pixels(120, 90), device)
    # Where a pixel stands at one half itself, rounding decides whether it is inverted.
    assert found.max() <= 0.5 / 255
    assert np.median(found) <= TOLERANCE
    assert {len(np.unique(p[:, place])) for place in (JITTER, GRAY, SOLARISE)} == {2}


def test_batches_are_those_of_the_memory_loader() -> None:
    recipes = [Recipe(size=16, views=1), Recipe(size=16, views=1, blur=1.0), Recipe(size=8)]
    images = in_memory()
    ours, kernels = (
        make(images, recipes, Sampler(len(images), 4, 5), last)
        for make, last in ((DeviceLoader, torch.device("cpu")), (MemoryLoader, 1))
    )
    for loader in (ours, kernels):
        loader.sampler.set_epoch(3)
    for a, b in zip(ours, kernels, strict=True):
        assert [x.shape for x in a.views] == [(2, 4, 3, 16, 16), (2, 4, 3, 8, 8)]
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.labels, b.labels)
        for x, y in zip(a.views, b.views, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)
