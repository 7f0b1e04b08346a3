"""Parameters: distributed as torchvision's, and a function of (seed, epoch, sample, view) alone."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from scipy.stats import ks_2samp
from torchvision.transforms import ColorJitter, RandomResizedCrop

from cl.data.augment.cpu import JITTER, VIEW, compiled, draw
from cl.data.augment.recipe import Recipe

DRAWS = 4000
WINDOW = ("top", "left", "height", "width")
RECIPE = Recipe(size=32, solarize=0.2)


def drawn(seed: int, epoch: int, sample: int, view: int, size: tuple[int, int] = (90, 120)):
    p = np.frombuffer(bytearray(b"\x55" * VIEW.itemsize), VIEW)[0]  # no value is left as it was
    draw(RECIPE.record, seed, epoch, sample, view, *size, p)
    return p


@pytest.fixture(scope="module")
def ours() -> np.ndarray:
    return np.stack([drawn(3, 0, sample, 0) for sample in range(DRAWS)])


def same_distribution(a: np.ndarray, b: np.ndarray) -> None:
    assert np.array(ks_2samp(a, b))[1] > 1e-3


@pytest.mark.parametrize("size", [(90, 120), (60, 20)])
def test_crops_are_torchvisions(size: tuple[int, int]) -> None:
    p = np.stack([drawn(4, 2, sample, 1, size) for sample in range(DRAWS)])
    ours = np.stack([p[name] for name in WINDOW], axis=1)
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
    for i, name in enumerate(JITTER):
        same_distribution(ours[name], theirs[:, i])


def test_all_orders_alike_often(ours: np.ndarray) -> None:
    orders, counts = np.unique(ours["order"], axis=0, return_counts=True)
    assert [tuple(o) for o in orders] == list(itertools.permutations(range(4)))
    assert counts.min() > DRAWS / 24 * 0.6


@pytest.mark.parametrize(
    ("name", "share"),
    [("flip", 0.5), ("jitter", 0.8), ("gray", 0.2), ("sigma", 0.5), ("solarize", 0.2)],
)
def test_probabilities(ours: np.ndarray, name: str, share: float) -> None:
    assert abs((ours[name] > 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / DRAWS)


def test_deviations_are_uniform(ours: np.ndarray) -> None:
    blurred = ours["sigma"][ours["sigma"] > 0]
    same_distribution(blurred, np.linspace(*RECIPE.blur_sigma, DRAWS))


def test_parameters_are_uncorrelated(ours: np.ndarray) -> None:
    names = (*WINDOW[:3], *JITTER, "flip", "jitter", "gray")
    continuous = np.stack([ours[name].astype(float) for name in names], axis=1)
    other = np.corrcoef(continuous.T)[3:, 3:] - np.eye(7)
    assert np.abs(other).max() < 0.07
    assert abs(np.corrcoef(ours["brightness"][:-1], ours["brightness"][1:])[0, 1]) < 0.07


def test_a_function_of_seed_epoch_sample_and_view() -> None:
    assert np.array_equal(drawn(1, 2, 3, 4), drawn(1, 2, 3, 4))
    places = list(itertools.product(range(4), repeat=4))
    assert len({drawn(a, b, c, d).tobytes() for a, b, c, d in places}) == len(places)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("crop", WINDOW),
        ("flip", ("flip",)),
        ("color", ("jitter", "order", *JITTER, "gray")),
        ("blur", ("sigma",)),
        ("solarize", ("solarize",)),
    ],
)
def test_what_a_view_shares_with_the_first(group: str, names: tuple[str, ...]) -> None:
    """That group of parameters always, and every other as a view that shares nothing."""
    recipe = RECIPE.changed({"shared": (group,)}).record
    p = np.empty((), VIEW)[()]
    for sample in range(50):
        draw(recipe, 1, 2, sample, 3, 90, 120, p)
        first, own = drawn(1, 2, sample, 0), drawn(1, 2, sample, 3)
        for name in VIEW.fields or ():
            assert np.array_equal(p[name], (first if name in names else own)[name])


def test_views_of_a_sample_are_unrelated() -> None:
    first, second = (
        np.array([drawn(0, 0, sample, view)["brightness"] for sample in range(1000)])
        for view in (0, 1)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.13


def test_a_function_that_cannot_be_kept_on_disk_is_compiled_still() -> None:
    """As where no folder can be written: numba keeps none that stands in no file."""
    scope: dict[str, Any] = {}
    exec("def twice(x): return 2 * x", scope)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        njit(cache=True)(scope["twice"])
    assert compiled()(scope["twice"])(3) == 6
