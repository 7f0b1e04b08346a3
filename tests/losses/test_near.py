"""Losses of pairs that nearly agree, against fifty digits: values and gradients.

Embeddings are normalized to the rounding error of their type. What depends on the difference of two
of them alone, such as the gradient of a cosine, is known to that error over the difference.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cl.losses import get_loss
from cl.losses._pairwise import ALL, compare
from cl.losses.relic import invariance_penalty
from tests.losses import fifty_digits as fd

N, D = 4, 6
SCORES, SAME = [0.0, 2.0, 1.0, 1.0], [True, False, True, False]
QUEUE = torch.randn(5, D, generator=torch.Generator().manual_seed(2)).double()
COLD = fd.number(0.02)  # where most of these losses are nearly zero
DENOMINATORS: dict[str, fd.Denominator] = {
    "nt_xent": lambda v, i, w, j: (v, i) != (w, j),
    "supcon": lambda v, i, w, j: (v, i) != (w, j),
    "info_nce": lambda v, i, w, j: v != w,
    "clip": lambda v, i, w, j: v != w,
    "mnrl": lambda v, i, w, j: v != w,
    "dcl": lambda v, i, w, j: i != j,
    "dcl_symmetric": lambda v, i, w, j: i != j,
    "dhel": lambda v, i, w, j: v == w and i != j,
}
ONE_WAY = {"mnrl", "dcl"}
ONE_TO_OTHER: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
Case = tuple[Callable[[Tensor], Tensor], Callable[[np.ndarray], Any], bool]


def case(
    name: str, exact: Callable[[np.ndarray], Any], of_difference: bool = False, **options: Any
) -> Case:
    """A loss, its formula, and whether it is nothing but a function of the views' difference."""
    return (lambda z: get_loss(name)(z, **options)), exact, of_difference


def softmax(name: str) -> Case:
    views = 1 if name in ONE_WAY else 2
    return case(name, lambda z: fd.softmax(z, COLD, DENOMINATORS[name], views), temperature=0.02)


def kcl(kernel: str, gamma: float) -> Case:
    pair = ("gaussian", "riesz") if kernel == "gaussian_riesz" else (kernel, kernel)
    alone = gamma == 0 or kernel == "riesz"
    return case("kcl", lambda z: fd.kcl(z, *pair, gamma), alone, kernel=kernel, gamma=gamma)


CASES: dict[str, Case] = {
    **{name: softmax(name) for name in DENOMINATORS},
    "supcon in_sum": case(
        "supcon",
        lambda z: fd.softmax(z, COLD, DENOMINATORS["supcon"], 2),
        temperature=0.02,
        positives="in_sum",
    ),
    "mv_infonce": case("mv_infonce", lambda z: fd.mv_infonce(z, COLD), temperature=0.02),
    "mv_infonce warm": case(
        "mv_infonce", lambda z: fd.mv_infonce(z, fd.number(0.2)), temperature=0.2
    ),
    "relic": case("relic", lambda z: fd.relic(z, fd.number(0.2), 0.5), temperature=0.2),
    "penalty of relic": (
        lambda z: invariance_penalty(compare(z, None, ALL, 0.2, **ONE_TO_OTHER)),
        lambda z: fd.divergence(fd.unit(z)[0], fd.unit(z)[1], fd.number(0.2)),
        True,
    ),
    "hcl": case("hcl", lambda z: fd.hcl(z, fd.number(0.5), 1)),
    "debiased": case("debiased", lambda z: fd.hcl(z, fd.number(0.5), 0)),
    "hcl cold": case("hcl", lambda z: fd.hcl(z, fd.number(0.05), 1), True, temperature=0.05),
    "sigmoid": case("sigmoid", lambda z: fd.sigmoid(z, fd.number(0.1), -10)),
    "vicreg": case("vicreg", fd.vicreg),
    "cosine": (
        lambda z: get_loss("cosine")(z[:1], z[1:]),
        lambda z: -fd.mean((fd.unit(z)[0] * fd.unit(z)[1]).sum(-1)),
        True,
    ),
    "cosent": (
        lambda z: get_loss("cosent")(z, torch.tensor(SCORES)),
        lambda z: fd.ranking((fd.unit(z)[0] * fd.unit(z)[1]).sum(-1), SCORES, 20),
        True,
    ),
    "moco": (
        lambda z: get_loss("moco")(z[0], z[1], QUEUE.to(z), temperature=0.02),
        lambda z: fd.moco(z, fd.exact(QUEUE), COLD),
        False,
    ),
    "margin": (
        lambda z: get_loss("margin")(z, torch.tensor(SAME)),
        lambda z: fd.margin(z, SAME),
        False,
    ),
    "triplet": (
        lambda z: get_loss("triplet")(torch.cat([z, z[:1].roll(1, 1)]), margin=9.0, eps=1e-6),
        lambda z: fd.triplet(np.concatenate([z, np.roll(z[:1], 1, 1)]), 9, 1e-6),
        False,
    ),
    **{
        f"info_nce_angle {m}": case(
            "info_nce_angle",
            lambda z, m=m: fd.info_nce_angle(z, fd.number(0.05), m),
            m != 0,
            margin=float(m),
        )
        for m in (10, 0, -10, 90)
    },
    **{
        f"kcl {kernel} {gamma}": kcl(kernel, float(gamma))
        for kernel in ("gaussian", "log", "imq", "riesz", "gaussian_riesz")
        for gamma in (16, 0)
    },
}


def norm(x: np.ndarray) -> float:
    return float(fd.mp.sqrt((x * x).sum()))


SLOW = [pytest.param(difference, marks=pytest.mark.slow) for difference in (1e-2, 1e-6)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("difference", [1e-1, 1e-4, 1e-8, *SLOW])
@pytest.mark.parametrize("name", CASES)
def test_near_pairs(name: str, difference: float, dtype: torch.dtype) -> None:
    if dtype == torch.float32 and difference < 1e-6:
        pytest.skip("below the rounding error of the embeddings themselves")
    ours, exact, of_difference = CASES[name]
    g = torch.Generator().manual_seed(0)
    base, noise = torch.randn(2, N, D, dtype=torch.float64, generator=g)
    z = torch.stack([base, base + difference * noise]).to(dtype).requires_grad_()
    value = ours(z)
    (found,) = torch.autograd.grad(value, z)
    numbers = fd.exact(z)
    expected, slopes = exact(numbers), fd.gradient(exact, numbers)
    eps = torch.finfo(dtype).eps
    known = eps / difference if of_difference else eps  # to which a gradient can be computed
    of_value = (
        known if name.startswith(("kcl log", "kcl riesz", "penalty")) and of_difference else eps
    )
    assert abs(fd.number(value.detach()) - expected) <= 200 * of_value * abs(expected)
    assert norm(fd.exact(found) - slopes) <= 200 * known * norm(slopes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("difference", [1e-1, 1e-3, 1e-5])
def test_near_samples_of_one_view(difference: float, dtype: torch.dtype) -> None:
    """The riesz kernel is all of the nearest pair; most blocks are computed from cosines."""
    g = torch.Generator().manual_seed(0)
    base, noise = torch.randn(2, N, D, dtype=torch.float64, generator=g)
    base[1] = base[0] + difference * noise[0]
    z = torch.stack([base, base + noise]).to(dtype).requires_grad_()
    value = get_loss("kcl")(z, kernel="riesz")
    (found,) = torch.autograd.grad(value, z)
    numbers = fd.exact(z)

    def exact(z: np.ndarray) -> Any:
        return fd.kcl(z, "riesz", "riesz", 16)

    known = 200 * torch.finfo(dtype).eps / difference
    expected, slopes = exact(numbers), fd.gradient(exact, numbers)
    assert abs(fd.number(value.detach()) - expected) <= known * abs(expected)
    assert norm(fd.exact(found) - slopes) <= known * norm(slopes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("difference", [1.0, 1e-2, 1e-4])
def test_temperature_of_relics_penalty(difference: float, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    base, noise = torch.randn(2, N, D, dtype=torch.float64, generator=g)
    z = torch.stack([base, base + difference * noise]).to(dtype)
    t = torch.tensor(0.2, dtype=dtype, requires_grad=True)
    (found,) = torch.autograd.grad(invariance_penalty(compare(z, None, ALL, t, **ONE_TO_OTHER)), t)
    u, v = fd.unit(fd.exact(z))
    (slope,) = fd.gradient(lambda t: fd.divergence(u, v, t[0]), fd.exact(t.reshape(1)))
    known = 200 * torch.finfo(dtype).eps / difference
    assert abs(fd.number(found.item()) - slope) <= known * abs(slope)
