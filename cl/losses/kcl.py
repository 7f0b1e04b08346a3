"""Kernel contrastive loss (Koromilas et al. 2024, https://arxiv.org/abs/2405.18045, section 5)."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene
from cl.losses._sum import pair_sum


def kcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    kernel: Literal["gaussian", "log", "imq", "riesz", "gaussian_riesz"] = "gaussian",
    t: float = 2.0,
    gamma: float = 16.0,  # the authors' code's
    log_energy_factor: float = 0.5,
) -> Float[Tensor, ""]:
    r"""$2 (-\mathrm{mean}\, K(d_{+}) + \gamma\, \mathrm{mean}\, K(d_{-}))$ of Euclidean distances.

    $d_+$ are between views of a sample, $d_-$ between samples of one view. No logarithm, no
    denominator: its value has no bias in the batch size. See `contrast` for z and rows.

    Args:
        z: see `contrast`.
        ids: samples with equal ids do not push each other; the positives are the own other views.
        rows: see `contrast`.
        kernel: gaussian exp(-t d^2), log -log(t d^2 + 1), imq t / sqrt(t^2 + d^2), riesz d^-t;
            `gaussian_riesz` aligns by the gaussian with t = 2 and spreads by riesz.
        t: the kernel's parameter.
        gamma: weight of the spreading.
        log_energy_factor: the log kernel's spreading is times this, a half in the authors' code.

    Two samples at opposite ends whose views agree: 2 (-1 + 16 e^{-2 * 4}).

    >>> round(kcl(torch.tensor([[[1.0], [-1.0]]] * 2)).item(), 5)
    -1.98926
    """
    align, align_t = ("gaussian", 2.0) if kernel == "gaussian_riesz" else (kernel, t)
    spread = "riesz" if kernel == "gaussian_riesz" else kernel
    factor = log_energy_factor if kernel == "log" else 1.0

    def energy(cosine: Tensor, *_: Any) -> Tensor:
        return of_distance(2 - 2 * cosine, spread, t)

    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, 1.0)
        v, n, _ = z.shape
        own = of_distance(2 - 2 * s.between_views(), align, align_t)
        attraction = s.of_other_views(own).mean() if v > 1 else 0.0
        pairs = v * (n**2 - s.sizes().square().sum()).clamp(min=1)
        total = pair_sum(s, lambda p: p.same_view & ~p.same_id, energy)
        repulsion = factor * total / pairs * (n / own.shape[-1])
        return 2 * (gamma * repulsion - attraction)


def of_distance(squared: Tensor, kernel: str, t: float) -> Tensor:
    """A kernel of the squared distance; two that are all but the same are a rounding apart."""
    squared = squared.clamp(min=torch.finfo(squared.dtype).eps)
    if kernel == "gaussian":
        return (-t * squared).exp()
    if kernel == "log":
        return -torch.log1p(t * squared)
    if kernel == "imq":
        return t * (t**2 + squared).rsqrt()
    return squared.pow(-t / 2) if t >= 0 else -squared.pow(-t / 2)
