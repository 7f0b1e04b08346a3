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

from cl import measures
from cl.losses import get_loss

Inputs = dict[str, Tensor]
Settings = dict[str, Any]
Call = Callable[[Inputs, Settings], Tensor]


def of(name: str, keys: str = "", **fixed: Any) -> Call:
    """Our loss of the stacked inputs, or of those named, with a case's settings in our words."""
    words = {"tau": "temperature", "t": "t", "gamma": "gamma", "sigma": "sigma", "beta": "beta"}
    words |= {
        "lambda": "lamb",
        "base": "base_temperature",
        "tau_plus": "tau_plus",
        "scale": "scale",
    }
    words |= {"margin": "margin", "alpha": "alpha", "sim": "invariance", "std": "variance"}
    words |= {"cov": "covariance", "threshold": "threshold"}

    def call(x: Inputs, h: Settings) -> Tensor:
        z = torch.stack([x[k] for k in keys.split()] if keys else list(x.values()))
        given = {words[k]: v for k, v in h.items() if k in words}
        labels = [torch.tensor(h["labels"])] if "labels" in h else []
        return get_loss(name)(z, *labels, **given | fixed)

    return call


def one_hot_scale(x: Inputs, h: Settings) -> dict[str, Any]:
    """The logit scale of the sigmoid repository: $e^\\tau$, clamped, as a temperature."""
    scale = x["tau"].squeeze().exp().clamp(0, h["max_tau"])
    return {"temperature": 1 / scale}


def targeted(name: str) -> Call:
    """A loss of online embeddings u and their targets v."""

    def call(x: Inputs, h: Settings) -> Tensor:
        settings = one_hot_scale(x, h) | {k: h[k] for k in ("alpha",) if k in h}
        if name == "sigmoid":
            settings |= {k: h[k] for k in ("gamma", "threshold") if k in h}
            settings["bias"] = x["b"].squeeze()
        # u is the second view, so that it meets v as the target of the first, and nothing else.
        z = torch.stack([x["v"].detach(), x["u"]])
        return get_loss(name)(z, None, slice(None), x["v"][None], **settings)

    return call


def mnrl(x: Inputs, h: Settings, **fixed: Any) -> Tensor:
    return get_loss("mnrl")(torch.stack(list(x.values())), temperature=1 / h["scale"], **fixed)


def kcl(kernel: str) -> Call:
    return of("kcl", kernel=kernel)


def pair(x: Inputs) -> Tensor:
    return torch.stack([x["u"], x["v"]])


LOSSES: dict[str, Call] = {  # by the name in the file
    "nt_xent": of("nt_xent"),
    "nt_xent_multiview_out": of("nt_xent"),
    "nt_xent_multiview_in_sum": of("supcon", positives="in_sum"),
    "nt_xent_multiview_single_positive": of("supcon", positives="single"),
    "nt_xent_multiview_pairwise": of("supcon", positives="pairwise"),
    "supcon_out": of("supcon"),
    "supcon_in": of("supcon", positives="in"),
    "supcon_single_view": of("supcon"),
    "supcon_single_view_skip_empty": of("supcon", skip_empty=True),
    "supcon_out_base_temperature": of("supcon"),
    "info_nce": of("info_nce", symmetric=False),
    "info_nce_symmetric": of("info_nce"),
    "info_nce_angle": of("info_nce_angle"),
    "clip": lambda x, h: get_loss("clip")(pair(x), temperature=1 / x["scale"]),
    "dcl": of("dcl"),
    "dcl_symmetric": of("dcl_symmetric"),
    "dclw": of("dclw", through_weights=True),
    "dclw_symmetric_detached": of("dclw", symmetric=True),
    "dhel_one_sided": of("dhel", symmetric=False),
    "dhel_both": of("dhel", both_energies=True),
    "mv_dhel": of("mv_dhel"),
    "mv_infonce": of("mv_infonce"),
    "hcl": of("hcl"),
    "debiased": of("debiased"),
    "kcl_gaussian": kcl("gaussian"),
    "kcl_log": kcl("log"),
    "kcl_imq": kcl("imq"),
    "kcl_riesz": kcl("riesz"),
    "kcl_gaussian_riesz": kcl("gaussian_riesz"),
    "siglip": lambda x, _: get_loss("sigmoid")(pair(x), temperature=1 / x["t"], bias=x["b"]),
    "scl": targeted("sigmoid"),
    "scl_filtered": targeted("sigmoid"),
    "relic": targeted("relic"),
    "mnrl": mnrl,
    "mnrl_gte_joint": lambda x, h: mnrl(x, h, joint=True),
    "angle": of("angle"),
    "cosent": of("cosent"),
    "margin_contrastive": lambda x, h: margin(x, h),
    "margin_contrastive_half": lambda x, h: margin(x, h, half=True),
    "triplet": of("triplet"),
    "triplet_eps0": of("triplet", eps=0.0),
    "nce": lambda x, h: get_loss("nce")(x["l_data"], x["l_noise"], nu=h["nu"]),
    "nce_gutmann": lambda x, _: get_loss("nce")(x["l_data"], x["l_noise"], counted=True),
    "barlow_twins": of("barlow_twins"),
    "barlow_twins_unbiased_std": of("barlow_twins", unbiased=True),
    "vicreg": of("vicreg"),
    "vicreg_std_sum": of("vicreg", variance_sum=True),
    "simsiam": lambda x, _: get_loss("cosine")(
        torch.stack([x["p1"], x["p2"]]), torch.stack([x["z2"], x["z1"]]).detach()
    ),
    "alignment": lambda x, h: measures.alignment(pair(x), alpha=h["alpha"]),
    "uniformity": lambda x, h: measures.uniformity(x["u"], t=h["t"]),
    "rankme": lambda x, h: measures.rankme(x["z"], eps=h["eps"]),
}


def margin(x: Inputs, h: Settings, **fixed: Any) -> Tensor:
    same = torch.tensor(h["labels"]).bool()
    return get_loss("margin")(pair(x), same, margin=h["margin"], **fixed)


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

    if not entry["grad"]:  # a measure whose gradient nobody gave
        return
    gradients = torch.autograd.grad(loss, list(x.values()), materialize_grads=True)
    for key, gradient in zip(x, gradients, strict=True):
        right = entry["grad"].get(key, {"norm": 0.0, "sum": 0.0, "first": [0.0] * 5})
        found = [gradient.norm(), gradient.sum(), *gradient.flatten()[:5]]
        expected = torch.tensor([right["norm"], right["sum"], *right["first"]], dtype=torch.float64)
        assert_close(
            torch.stack(found).double(), expected, rtol=rtol, atol=rtol * max(right["norm"], 1e-6)
        )
