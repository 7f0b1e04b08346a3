"""Parameters: distributed as torchvision's, and a function of (seed, epoch, sample, view) alone."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from scipy.stats import ks_2samp
from torchvision.transforms import ColorJitter, RandomResizedCrop

from cl.data.augment.draw import (
    COUNT,
    FACTORS,
    FLIP,
    GRAY,
    HEIGHT,
    JITTER,
    LEFT,
    ORDER,
    SIGMA,
    SOLARISE,
    TOP,
    WIDTH,
    compiled,
    draw,
)
from cl.data.augment.recipe import Recipe

DRAWS = 4000
RECIPE = Recipe(size=32, solarize=0.2)


def drawn(seed: int, epoch: int, sample: int, view: int, size: tuple[int, int] = (90, 120)):
    p = np.full(COUNT, np.nan)
    draw(RECIPE.numbers(), seed, epoch, sample, view, *size, p)
    return p


@pytest.fixture(scope="module")
def ours() -> np.ndarray:
    return np.stack([drawn(3, 0, sample, 0) for sample in range(DRAWS)])


def same_distribution(a: np.ndarray, b: np.ndarray) -> None:
    assert np.array(ks_2samp(a, b))[1] > 1e-3


@pytest.mark.parametrize("size", [(90, 120), (60, 20)])
def test_crops_are_torchvisions(size: tuple[int, int]) -> None:
    p = np.stack([drawn(4, 2, sample, 1, size) for sample in range(DRAWS)])
    ours = p[:, [TOP, LEFT, HEIGHT, WIDTH]]
    image = torch.empty(3, *size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        scale, ratio = list(RECIPE.crop_scale), list(RECIPE.crop_ratio)
        theirs = np.array(
            [RandomResizedCrop.get_params(image, scale, ratio) for _ in range(DRAWS)], float
        )
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= size).all()
    for f in (
        lambda x: x[:, 2] * x[:, 3],
        lambda x: x[:, 3] / x[:, 2],
        lambda x: x[:, 0],
        lambda x: x[:, 1],
    ):
        same_distribution(f(ours), f(theirs))


def test_factors_are_torchvisions(ours: np.ndarray) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = np.array(
            [
                ColorJitter.get_params([0.2, 1.8], [0.2, 1.8], [0.2, 1.8], [-0.2, 0.2])[1:]
                for _ in range(DRAWS)
            ],
            float,
        )
    for i in range(4):
        same_distribution(ours[:, FACTORS + i], theirs[:, i])


def test_all_orders_alike_often(ours: np.ndarray) -> None:
    orders, counts = np.unique(ours[:, ORDER : ORDER + 4], axis=0, return_counts=True)
    assert [tuple(o) for o in orders.astype(int)] == list(itertools.permutations(range(4)))
    assert counts.min() > DRAWS / 24 * 0.6


@pytest.mark.parametrize(
    ("place", "share"), [(FLIP, 0.5), (JITTER, 0.8), (GRAY, 0.2), (SIGMA, 0.5), (SOLARISE, 0.2)]
)
def test_probabilities(ours: np.ndarray, place: int, share: float) -> None:
    assert abs((ours[:, place] > 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / DRAWS)


def test_deviations_are_uniform(ours: np.ndarray) -> None:
    blurred = ours[ours[:, SIGMA] > 0, SIGMA]
    same_distribution(blurred, np.linspace(*RECIPE.blur_sigma, DRAWS))


def test_parameters_do_not_hang_together(ours: np.ndarray) -> None:
    continuous = ours[:, [TOP, LEFT, HEIGHT, *range(FACTORS, FACTORS + 4), FLIP, JITTER, GRAY]]
    other = np.corrcoef(continuous.T)[3:, 3:] - np.eye(7)
    assert np.abs(other).max() < 0.07
    assert abs(np.corrcoef(ours[:-1, FACTORS], ours[1:, FACTORS])[0, 1]) < 0.07


def test_a_function_of_seed_epoch_sample_and_view() -> None:
    assert np.array_equal(drawn(1, 2, 3, 4), drawn(1, 2, 3, 4))
    places = list(itertools.product(range(4), repeat=4))
    assert len({drawn(a, b, c, d).tobytes() for a, b, c, d in places}) == len(places)


@pytest.mark.parametrize(
    ("group", "places"),
    [
        ("crop", (TOP, LEFT, HEIGHT, WIDTH)),
        ("flip", (FLIP,)),
        ("color", (JITTER, *range(ORDER, GRAY + 1))),
        ("blur", (SIGMA,)),
        ("solarize", (SOLARISE,)),
    ],
)
def test_what_a_view_shares_with_the_first(group: str, places: tuple[int, ...]) -> None:
    """That group of parameters always, and every other as a view that shares nothing."""
    numbers = RECIPE.changed({"shared": (group,)}).numbers()
    others = [i for i in range(COUNT) if i not in places]
    p = np.empty(COUNT)
    for sample in range(50):
        draw(numbers, 1, 2, sample, 3, 90, 120, p)
        assert np.array_equal(p[[*places]], drawn(1, 2, sample, 0)[[*places]])
        assert np.array_equal(p[others], drawn(1, 2, sample, 3)[others])


def test_views_of_a_sample_are_unrelated() -> None:
    first, second = (
        np.array([drawn(0, 0, sample, view)[FACTORS] for sample in range(1000)]) for view in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.13


def test_a_function_that_cannot_be_kept_on_disk_is_compiled_still() -> None:
    """As where no folder can be written: numba keeps none that stands in no file."""
    scope: dict[str, Any] = {}
    exec("def twice(x): return 2 * x", scope)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        njit(cache=True)(scope["twice"])
    assert compiled()(scope["twice"])(3) == 6
