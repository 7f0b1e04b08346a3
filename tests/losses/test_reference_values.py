"""Values and gradients of losses and measures against those of independent public code."""

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
Hyperparameters = dict[str, Any]
Evaluate = Callable[[Inputs, Hyperparameters], Tensor]


def our_loss(name: str, keys: str = "", **fixed: Any) -> Evaluate:
    """Evaluate our loss of the stacked inputs, or of those named, with a case's hyperparameters."""
    same = ("t", "gamma", "sigma", "beta", "tau_plus", "scale", "margin", "alpha", "threshold")
    ours = {key: key for key in same}
    ours |= {"tau": "temperature", "base": "base_temperature", "lambda": "lamb"}
    ours |= {"sim": "invariance", "std": "variance", "cov": "covariance"}

    def call(x: Inputs, h: Hyperparameters) -> Tensor:
        z = torch.stack([x[k] for k in keys.split()] if keys else list(x.values()))
        options = {ours[k]: v for k, v in h.items() if k in ours}
        labels = [torch.tensor(h["labels"])] if "labels" in h else []
        return get_loss(name)(z, *labels, **options | fixed)

    return call


def clamped_temperature(x: Inputs, h: Hyperparameters) -> dict[str, Any]:
    """The temperature of a clamped logit scale, $\\min(e^\\tau, \\mathrm{max})$."""
    scale = x["tau"].squeeze().exp().clamp(0, h["max_tau"])
    return {"temperature": 1 / scale}


def with_target(name: str) -> Evaluate:
    """Evaluate a loss of online embeddings u and target embeddings v."""

    def call(x: Inputs, h: Hyperparameters) -> Tensor:
        options = clamped_temperature(x, h) | {k: h[k] for k in ("alpha",) if k in h}
        if name == "sigmoid":
            options |= {k: h[k] for k in ("gamma", "threshold") if k in h}
            options["bias"] = x["b"].squeeze()
        # As second view u is compared with the first view's target v, and with nothing else.
        z = torch.stack([x["v"].detach(), x["u"]])
        return get_loss(name)(z, None, slice(None), x["v"][None], **options)

    return call


def mnrl(x: Inputs, h: Hyperparameters, **fixed: Any) -> Tensor:
    return get_loss("mnrl")(torch.stack(list(x.values())), temperature=1 / h["scale"], **fixed)


def kcl(kernel: str) -> Evaluate:
    return our_loss("kcl", kernel=kernel)


def pair(x: Inputs) -> Tensor:
    return torch.stack([x["u"], x["v"]])


LOSSES: dict[str, Evaluate] = {  # by the name in the file
    "nt_xent": our_loss("nt_xent"),
    "nt_xent_multiview_out": our_loss("nt_xent"),
    "nt_xent_multiview_in_sum": our_loss("supcon", positives="in_sum"),
    "nt_xent_multiview_single_positive": our_loss("supcon", positives="single"),
    "nt_xent_multiview_pairwise": our_loss("supcon", positives="pairwise"),
    "supcon_out": our_loss("supcon"),
    "supcon_in": our_loss("supcon", positives="in"),
    "supcon_single_view": our_loss("supcon"),
    "supcon_single_view_skip_empty": our_loss("supcon", skip_empty=True),
    "supcon_out_base_temperature": our_loss("supcon"),
    "info_nce": our_loss("info_nce", symmetric=False),
    "info_nce_symmetric": our_loss("info_nce"),
    "info_nce_angle": our_loss("info_nce_angle"),
    "clip": lambda x, h: get_loss("clip")(pair(x), temperature=1 / x["scale"]),
    "dcl": our_loss("dcl"),
    "dcl_symmetric": our_loss("dcl_symmetric"),
    "dclw": our_loss("dclw", through_weights=True),
    "dclw_symmetric_detached": our_loss("dclw", symmetric=True),
    "dhel_one_sided": our_loss("dhel", symmetric=False),
    "dhel_both": our_loss("dhel", both_energies=True),
    "mv_dhel": our_loss("mv_dhel"),
    "mv_infonce": our_loss("mv_infonce"),
    "hcl": our_loss("hcl"),
    "debiased": our_loss("debiased"),
    "kcl_gaussian": kcl("gaussian"),
    "kcl_log": kcl("log"),
    "kcl_imq": kcl("imq"),
    "kcl_riesz": kcl("riesz"),
    "kcl_gaussian_riesz": kcl("gaussian_riesz"),
    "siglip": lambda x, _: get_loss("sigmoid")(pair(x), temperature=1 / x["t"], bias=x["b"]),
    "scl": with_target("sigmoid"),
    "scl_filtered": with_target("sigmoid"),
    "relic": with_target("relic"),
    "mnrl": mnrl,
    "mnrl_gte_joint": lambda x, h: mnrl(x, h, joint=True),
    "angle": our_loss("angle"),
    "cosent": our_loss("cosent"),
    "margin_contrastive": lambda x, h: margin(x, h),
    "margin_contrastive_half": lambda x, h: margin(x, h, half=True),
    "triplet": our_loss("triplet"),
    "triplet_eps0": our_loss("triplet", eps=0.0),
    "nce": lambda x, h: get_loss("nce")(x["l_data"], x["l_noise"], nu=h["nu"]),
    "nce_gutmann": lambda x, _: get_loss("nce")(x["l_data"], x["l_noise"], counted=True),
    "barlow_twins": our_loss("barlow_twins"),
    "barlow_twins_unbiased_std": our_loss("barlow_twins", unbiased=True),
    "vicreg": our_loss("vicreg"),
    "vicreg_std_sum": our_loss("vicreg", variance_sum=True),
    "simsiam": lambda x, _: get_loss("cosine")(
        torch.stack([x["p1"], x["p2"]]), torch.stack([x["z2"], x["z1"]]).detach()
    ),
    "alignment": lambda x, h: measures.alignment(pair(x), alpha=h["alpha"]),
    "uniformity": lambda x, h: measures.uniformity(x["u"], t=h["t"]),
    "rankme": lambda x, h: measures.rankme(x["z"], eps=h["eps"]),
}


def margin(x: Inputs, h: Hyperparameters, **fixed: Any) -> Tensor:
    same = torch.tensor(h["labels"]).bool()
    return get_loss("margin")(pair(x), same, margin=h["margin"], **fixed)


@pytest.fixture(scope="module")
def entries(shared: Path) -> dict[str, Hyperparameters]:
    stored = json.loads((shared / "reference_values.json").read_text())
    assert stored["schema"] == "cl-loss-reference/1"
    return {entry["id"]: entry for entry in stored["entries"]}


def build_input(recipe: Hyperparameters, before: dict[str, np.ndarray]) -> np.ndarray:
    """Build an input in float64 from its recipe in the file."""
    if recipe["kind"] == "values":
        return np.array(recipe["values"]).squeeze()
    random = np.random.default_rng(recipe["seed"])
    if recipe["kind"] == "perturb":
        base = before[recipe["of"]]
        return base + recipe["eps"] * random.standard_normal(base.shape)
    drawn = random.standard_normal(recipe["shape"])
    return drawn * recipe.get("scale", 1) + recipe.get("shift", 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradients(
    name: str, case: int, dtype: torch.dtype, entries: dict[str, Hyperparameters]
) -> None:
    entry = entries[f"{name}/public/{case}"]
    arrays: dict[str, np.ndarray] = {}
    for key, recipe in entry["inputs"].items():
        arrays[key] = build_input(recipe, arrays)
        check = entry["input_check"][key]
        assert arrays[key].ravel()[:3].tolist() == pytest.approx(check["first"], rel=1e-12)
    x = {k: torch.tensor(a, dtype=dtype, requires_grad=True) for k, a in arrays.items()}

    loss = LOSSES[name](x, entry["hyperparameters"])
    value_rtol, rtol = (1e-9, 1e-8) if dtype == torch.float64 else (1e-4, 1e-4)
    assert loss.item() == pytest.approx(entry["value"], rel=value_rtol, abs=0)

    if not entry["grad"]:  # no implementation gave a gradient
        return
    gradients = torch.autograd.grad(loss, list(x.values()), materialize_grads=True)
    for key, gradient in zip(x, gradients, strict=True):
        theirs = entry["grad"].get(key, {"norm": 0.0, "sum": 0.0, "first": [0.0] * 5})
        ours = torch.stack([gradient.norm(), gradient.sum(), *gradient.flatten()[:5]]).double()
        expected = ours.new_tensor([theirs["norm"], theirs["sum"], *theirs["first"]])
        assert_close(ours, expected, rtol=rtol, atol=rtol * max(theirs["norm"], 1e-6))
