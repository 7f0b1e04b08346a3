"""MV-DHEL: DHEL for many views (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene


def mv_dhel(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.3,
) -> Float[Tensor, ""]:
    r"""Mean of $\sum_k \log \sum_{j \ne i} e^{s_{ki,kj}} - \log \sum_{k < l} e^{s_{ki,li}}$ over i.

    Every view spreads on its own; the views of a sample meet in one logarithm. See `contrast` for
    the arguments; the positives are always the sample's own views.

    Two samples at right angles whose two views agree, temperature 1: 0 + 0 - log(e).

    >>> round(mv_dhel(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    -1.0
    """
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature)
        push = s.log_sum_exp(lambda p: p.same_view & ~p.same_id).sum(dim=0)
        pull = (s.own_positives() - math.log(2)).logsumexp(dim=(0, 1))
        return (push.masked_fill(push == -torch.inf, 0.0) - pull).mean()
