"""MV-InfoNCE: one term for all views (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene


def mv_infonce(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.3,
) -> Float[Tensor, ""]:
    r"""Mean of $\log \sum_k \sum_{j \ne ki} e^{s_{ki,j}} - \log \sum_{k \ne l} e^{s_{ki,li}}$.

    All views of a sample meet in one logarithm instead of one pair at a time. See `contrast` for
    the arguments; the positives are always the sample's own views.

    Two samples at right angles whose two views agree, temperature 1: log(2 (e + 2)) - log(2 e).

    >>> round(mv_infonce(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.5514
    """
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature)
        push = s.log_sum_exp(lambda p: ~p.itself).logsumexp(dim=0)
        pull = s.own_positives().logsumexp(dim=(0, 1))
        return (push - pull).mean()
