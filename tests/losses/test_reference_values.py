"""Losses against values and gradients of public code, in `shared/reference_values.json`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cl.losses._contrast import ALL, contrast
from cl.losses.barlow_twins import barlow_twins
from cl.losses.cosine import cosine
from cl.losses.dcl import dcl
from cl.losses.dcl_symmetric import dcl_symmetric
from cl.losses.info_nce import info_nce
from cl.losses.nt_xent import nt_xent

Inputs = dict[str, Tensor]
Settings = dict[str, Any]


def pairwise(loss: Callable[..., Tensor]) -> Callable[[Inputs, Settings], Tensor]:
    def call(x: Inputs, h: Settings) -> Tensor:
        ids = torch.tensor(h["labels"]) if "labels" in h else None
        return loss(torch.stack(list(x.values())), ids, temperature=h["tau"])

    return call


def one_way(pushed: Callable[..., Tensor]) -> Callable[[Inputs, Settings], Tensor]:
    """The file's losses of the first view's anchors, of which ours are the symmetric ones."""
    first = slice(0, 1)
    return pairwise(
        lambda z, ids, temperature: contrast(z, ids, ALL, temperature, pushed, anchor_views=first)
    )


LOSSES: dict[str, Callable[[Inputs, Settings], Tensor]] = {  # by the name in the file
    "nt_xent": pairwise(nt_xent),
    "nt_xent_multiview_out": pairwise(nt_xent),
    "supcon_out": pairwise(nt_xent),
    "supcon_single_view": pairwise(nt_xent),
    "supcon_out_base_temperature": lambda x, h: h["tau"] / h["base"] * pairwise(nt_xent)(x, h),
    "info_nce": one_way(lambda p: ~p.same_view),
    "info_nce_symmetric": pairwise(info_nce),
    "clip": lambda x, h: info_nce(torch.stack([x["u"], x["v"]]), temperature=1 / x["scale"]),
    "dcl": pairwise(dcl),
    "dcl_symmetric": pairwise(dcl_symmetric),
    "dhel_one_sided": one_way(lambda p: p.same_view & ~p.same_id),
    "barlow_twins": lambda x, h: barlow_twins(torch.stack([x["u"], x["v"]]), lamb=h["lambda"]),
    "simsiam": lambda x, h: cosine(
        torch.stack([x["p1"], x["p2"]]), torch.stack([x["z2"], x["z1"]]).detach()
    ),
}


@pytest.fixture(scope="module")
def entries(shared: Path) -> dict[str, Settings]:
    stored = json.loads((shared / "reference_values.json").read_text())
    assert stored["schema"] == "cl-loss-reference/1"
    return {entry["id"]: entry for entry in stored["entries"]}


def made(recipe: Settings, before: dict[str, np.ndarray]) -> np.ndarray:
    """An input in float64, by the file's recipe."""
    if recipe["kind"] == "values":
        return np.array(recipe["values"]).squeeze()
    random = np.random.default_rng(recipe["seed"])
    if recipe["kind"] == "perturb":
        of = before[recipe["of"]]
        return of + recipe["eps"] * random.standard_normal(of.shape)
    drawn = random.standard_normal(recipe["shape"])
    return drawn * recipe.get("scale", 1) + recipe.get("shift", 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients(
    name: str, case: int, dtype: torch.dtype, entries: dict[str, Settings]
) -> None:
    entry = entries[f"{name}/public/{case}"]
    arrays: dict[str, np.ndarray] = {}
    for key, recipe in entry["inputs"].items():
        arrays[key] = made(recipe, arrays)
        check = entry["input_check"][key]
        assert arrays[key].ravel()[:3].tolist() == pytest.approx(check["first"], rel=1e-12)
    x = {k: torch.tensor(a, dtype=dtype, requires_grad=True) for k, a in arrays.items()}

    loss = LOSSES[name](x, entry["hyperparameters"])
    value_rtol, rtol = (1e-9, 1e-8) if dtype == torch.float64 else (1e-4, 1e-4)
    assert loss.item() == pytest.approx(entry["value"], rel=value_rtol, abs=0)

    gradients = torch.autograd.grad(loss, list(x.values()), materialize_grads=True)
    for key, gradient in zip(x, gradients, strict=True):
        right = entry["grad"].get(key, {"norm": 0.0, "sum": 0.0, "first": [0.0] * 5})
        found = [gradient.norm(), gradient.sum(), *gradient.flatten()[:5]]
        expected = torch.tensor([right["norm"], right["sum"], *right["first"]], dtype=torch.float64)
        assert_close(
            torch.stack(found).double(), expected, rtol=rtol, atol=rtol * max(right["norm"], 1e-6)
        )
