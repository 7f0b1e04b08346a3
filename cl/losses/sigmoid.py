"""Sigmoid loss, SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._invariance import invariance
from cl.losses._pairs import Pairs
from cl.losses._pairwise import ALL, Rows, scalar, scene
from cl.losses._sum import pair_sum
from cl.losses._views import crossed


def sigmoid(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    target: Float[Tensor, "g n d"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # where the paper's starts to learn
    bias: float | Float[Tensor, ""] = -10.0,  # where the paper's starts to learn
    gamma: float | Float[Tensor, ""] = 0.0,
    threshold: float | None = None,
    alpha: float = 0.0,
) -> Float[Tensor, ""]:
    r"""$-\frac{1}{n} \sum_{ij} \log \sigma(m_{ij} (s_{ij} + b))$, m = 1 for positives else -1.

    Every pair is a question of its own: no softmax, no denominator. The mean over all pairs of a
    view and another view's target.

    Args:
        z: see `contrast`.
        ids: samples with equal ids are positives.
        rows: see `contrast`.
        target: embeddings of the first g views by a target encoder; by default z itself.
        temperature: what similarities are divided by.
        bias: b; at -log n pairs start out as negatives.
        gamma: a pair answered with probability p counts (1 - p)^gamma, as in a focal loss.
        threshold: keep the negatives with (1 - p)^gamma above it, and weigh none.
        alpha: weight of ReLIC's penalty; see `relic`.

    One sample whose views agree, temperature 1, no bias: log(1 + e^{-1}).

    >>> round(sigmoid(torch.ones(2, 1, 1), temperature=1.0, bias=0.0).item(), 4)
    0.3133
    """

    def each(cosine: Tensor, p: Pairs, scale: Tensor, b: Tensor, power: Tensor) -> Tensor:
        positive = p.same_id.tensor(cosine)
        answer = (cosine * scale + b) * torch.where(positive, 1.0, -1.0).to(cosine.dtype)
        loss = -F.logsigmoid(answer)
        if threshold is None:
            return loss * (power * F.logsigmoid(-answer)).exp() if weighted else loss
        doubt = (power * F.logsigmoid(-answer.detach())).exp()
        return loss.masked_fill(~positive & (doubt <= threshold), 0.0)

    weighted = not (isinstance(gamma, float) and gamma == 0.0)
    one_way: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
    losses = []
    with torch.autocast(z.device.type, enabled=False):
        for pair in crossed(z, target, symmetric=not alpha):
            s = scene(pair, ids, rows, temperature, **one_way)
            scalars = [s.scale, *(scalar(x, s.scale) for x in (bias, gamma))]
            loss = pair_sum(s, lambda p: p.everything, each, scalars) / len(s.anchors[1])
            losses.append(loss + alpha * invariance(s) if alpha else loss)
        return torch.stack(losses).mean()
