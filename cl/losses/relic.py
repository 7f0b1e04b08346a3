"""ReLIC (Mitrovic et al. 2021, https://arxiv.org/abs/2010.07922, eq. 3)."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._invariance import invariance
from cl.losses._pairwise import ALL, Rows, mean_of, scene
from cl.losses._views import crossed


def relic(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    target: Float[Tensor, "g n d"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    alpha: float = 0.5,
) -> Float[Tensor, ""]:
    r"""InfoNCE from an embedding to its target, and a penalty where the two rank samples apart.

    $-l_{ii} + \log \sum_j e^{l_{ij}} + \alpha\,KL(q_i \| r_i)$, the mean over anchors and over all
    pairs of a view and another view's target; see `invariance` for q and r.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        target: embeddings of the first g views by a target encoder; by default z itself.
        temperature: what similarities are divided by.
        alpha: weight of the penalty.

    Two samples at right angles that agree, temperature 1: log(e + 1) - 1, and nothing to penalise.

    >>> round(relic(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.3133
    """
    one_way: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
    losses = []
    with torch.autocast(z.device.type, enabled=False):
        for pair in crossed(z, target, symmetric=False):
            s = scene(pair, ids, rows, temperature, **one_way)
            loss = mean_of(s.log_sum_exp(lambda p: p.everything), *s.positives())
            losses.append(loss + alpha * invariance(s) if alpha else loss)
        return torch.stack(losses).mean()
