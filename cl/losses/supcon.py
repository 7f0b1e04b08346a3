"""Supervised contrastive loss (Khosla et al. 2020, https://arxiv.org/abs/2004.11362, eq. 2, 3)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene
from cl.losses._sum import pair_sum
from cl.losses._views import over_pairs
from cl.losses.nt_xent import nt_xent


def supcon(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # the paper's, section 4.4
    positives: Literal["out", "in", "in_sum", "single", "pairwise"] = "out",
    base_temperature: float | None = None,
    skip_empty: bool = False,
) -> Float[Tensor, ""]:
    r"""NT-Xent for many positives $P_i$: $\log \sum_{j \ne i} e^{s_{ij}}$ less their similarity.

    See `contrast` for the arguments; without ids the positives are the sample's other views.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        positives: `out`, the paper's choice, takes their mean similarity; `in` the log of their
            mean exponential, `in_sum` (solo-learn's) of their sum; `single` leaves the other
            positives out of each one's denominator; `pairwise` is the mean over pairs of views.
        base_temperature: the loss is times temperature over this (0.07 in the authors' code).
        skip_empty: the mean is over anchors that have positives; else the others count as zero.

    Two samples of one class at right angles, one view: log(e^0) - 0.

    >>> supcon(torch.eye(2)[None], torch.tensor([1, 1]), temperature=1.0).item()
    0.0
    """
    factor = 1.0 if base_temperature is None else temperature / base_temperature
    if positives == "pairwise":
        return factor * over_pairs(
            lambda *pair: nt_xent(*pair, temperature=temperature), z, ids, rows
        )
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature)
        pull, number = s.positives()
        some, many = number > 0, number.clamp(min=1).to(s.z.dtype)
        if positives == "single":
            negatives = s.log_sum_exp(lambda p: ~p.same_id)
            value = pair_sum(
                s,
                lambda p: p.same_id & ~p.itself,
                lambda c, _, scale, push, n: -F.logsigmoid(c * scale - push) / n,
                [s.scale],
                [negatives, many],
            )
        else:
            if positives != "out":
                pull = s.log_sum_exp(lambda p: p.same_id & ~p.itself)
                pull = pull - many.log() if positives == "in" else pull
            each = s.log_sum_exp(lambda p: ~p.itself) - pull
            value = each.masked_fill(~some, 0.0).sum()
        everyone = s.everyone().positives()[1]
        counted = (everyone > 0).sum() if skip_empty else everyone.numel()
        return factor * value / counted * (everyone.shape[1] / some.shape[1])
