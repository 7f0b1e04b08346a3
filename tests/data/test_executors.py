"""Every executor applies every parameter of a view: one that forgets a new one is found here."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch

from cl.data.augment import cpu, gpu, torchvision
from cl.data.augment.cpu import JITTER, VIEW
from cl.data.augment.recipe import GROUPS, Recipe
from cl.data.loaders.dali import INPUTS
from tests.data.made import picture

RECIPE, IMAGE = Recipe(size=16), picture(30, 30)
BICUBIC = RECIPE.changed({"crop_interpolation": "bicubic"})
NAMES = VIEW.names or ()


def by_kernel(p: np.ndarray, recipe: Recipe = RECIPE) -> np.ndarray:
    out = np.empty((3, 16, 16), np.float32)
    cpu.render(IMAGE, p[0], recipe.record, out)
    return out


def by_torchvision(p: np.ndarray, recipe: Recipe = RECIPE) -> np.ndarray:
    out = np.empty((3, 16, 16), np.float32)
    torchvision.render(IMAGE, p[0], recipe.record, out)
    return out


def by_batched_operations(p: np.ndarray, recipe: Recipe = RECIPE) -> np.ndarray:
    return gpu.render(torch.from_numpy(IMAGE)[None], p, recipe).numpy()[0]


def some_view() -> np.ndarray:
    p = np.zeros(1, VIEW)
    p["top"], p["left"], p["height"], p["width"], p["order"] = 2, 3, 20, 21, range(4)
    p["jitter"], p["sigma"] = True, 0.5
    for name, factor in zip(JITTER, (0.9, 1.2, 0.8, 0.1), strict=True):
        p[name] = factor
    return p


@pytest.mark.parametrize("render", [by_kernel, by_torchvision, by_batched_operations])
@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_changes_the_view(
    name: str, render: Callable[[np.ndarray], np.ndarray]
) -> None:
    p = some_view()
    if name == "order":
        p[name] = p[name][:, ::-1]
    else:
        kind = VIEW[name].kind
        p[name] = ~p[name] if kind == "b" else p[name] + (1 if kind == "i" else 0.25)
    assert np.abs(render(p) - render(some_view())).max() > 0.01


@pytest.mark.parametrize("render", [by_kernel, by_torchvision, by_batched_operations])
def test_the_interpolation_changes_the_view(render: Callable[..., np.ndarray]) -> None:
    assert np.abs(render(some_view(), BICUBIC) - render(some_view())).max() > 0.01


def test_dali_gets_every_parameter() -> None:
    """But the order, for it has one of its own; jitter and gray are in the factors it gets."""
    assert {*INPUTS} == {*NAMES} - {"order", "jitter", "gray"}


def test_the_kernel_gets_every_field_of_a_recipe() -> None:
    names = {*(RECIPE.record.dtype.names or ())}
    assert {f.name for f in fields(Recipe)} - names == {
        *("jitter_order", "crop_interpolation"),
        *("central", "interpolation"),  # of plain images
    }
    assert names - {f.name for f in fields(Recipe)} == {
        *("crop_log_ratio", "random_order", "blur_kernel", "bicubic")
    }
    assert RECIPE.record["shared"].dtype.names == GROUPS
    assert Recipe(size=8, crop_scale=(0, 1), blur=1).record.dtype == RECIPE.record.dtype
