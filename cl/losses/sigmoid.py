"""Sigmoid loss, SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import NonNegative, Positive, Share
from cl.losses._defined import require_positive
from cl.losses._function import WholeLoss
from cl.losses._layout import PairLayout
from cl.losses._pairs import Pairs, take
from cl.losses._pairwise import ALL, Rows, as_scalar, compare, fits_whole, inverse
from cl.losses._sum import pair_sum
from cl.losses._views import pairs_with_targets
from cl.losses._whole import LINEAR
from cl.losses.relic import invariance_penalty
from cl.precision import Unit, precise, without_autocast

NEEDS = {"threshold": "gamma"}  # it is one of the focal weight


def sigmoid(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    target: Float[Tensor, "g n d"] | None = None,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # where the paper's starts to learn
    bias: float | Float[Tensor, ""] = -10.0,  # where the paper's starts to learn
    gamma: NonNegative | Float[Tensor, ""] = 0.0,
    threshold: Share | None = None,
    alpha: NonNegative = 0.0,
) -> Float[Tensor, ""]:
    r"""$-\frac{1}{n} \sum_{ij} \log \sigma(m_{ij} (s_{ij} + b))$, m = 1 for positives else -1.

    Every pair is a binary classification of its own, without a softmax over the batch. Averaged
    over all pairs of a view and another view's target. Use it for two encoders and for batches of
    any size; the temperature and the bias are usually learned.

    Args:
        z: see `cl.losses`; two views or more.
        ids: see `cl.losses`.
        rows: see `cl.losses`.
        target: `(g, n, d)` embeddings of the first g views by a target encoder; None: z itself.
        temperature: divides the cosines.
        bias: b, added to every similarity; at -log n most pairs start as confident negatives.
        gamma: exponent of the focal weight: a pair classified with probability p of being right
            is weighted by (1 - p)^gamma.
        threshold: leave out the negatives whose (1 - p)^gamma is at most this, and weigh the other
            pairs alike; None: weigh all pairs.
        alpha: weight of ReLIC's invariance penalty.

    Returns:
        The sum over pairs divided by the number of local anchors, a scalar.

    Example:
        One sample whose views agree, temperature 1, no bias: log(1 + e^{-1}).

        >>> round(sigmoid(torch.ones(2, 1, 1), temperature=1.0, bias=0.0).item(), 4)
        0.3133

        Equivalent, for two views, to:

        >>> u, v = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> signs = 2 * torch.eye(4) - 1
        >>> naive = -F.logsigmoid(signs * (u @ v.T / 0.1 - 10)).sum() / 4
        >>> torch.testing.assert_close(sigmoid(torch.stack([u, v])), naive)
    """

    def term(cosine: Tensor, pairs: Pairs, scale: Tensor, b: Tensor, power: Tensor) -> Tensor:
        positive = pairs.same_id.tensor(cosine)
        logit = (cosine * scale + b) * torch.where(positive, 1.0, -1.0).to(cosine.dtype)
        loss = -F.logsigmoid(logit)
        if threshold is None:
            return loss * (power * F.logsigmoid(-logit)).exp() if weighted else loss
        focal = (power * F.logsigmoid(-logit.detach())).exp()
        return loss.masked_fill(~positive & (focal <= threshold), 0.0)

    weighted = not (isinstance(gamma, float) and gamma == 0.0)
    one_way: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
    losses = []
    with without_autocast(z):
        for pair in pairs_with_targets(z, target, symmetric=not alpha):
            if ids is None and not (weighted or threshold is not None or alpha):
                whole = whole_sigmoid(pair, rows, temperature, bias)
                if whole is not None:
                    losses.append(whole)
                    continue
            context = compare(pair, ids, rows, temperature, **one_way)
            scalars = [context.scale, *(as_scalar(x, context.scale) for x in (bias, gamma))]
            total = pair_sum(context, lambda pairs: pairs.all, term, scalars)
            loss = total / max(1, len(context.anchors[1]))
            losses.append(loss + alpha * invariance_penalty(context) if alpha else loss)
        return torch.stack(losses).mean() if len(losses) > 1 else losses[0]


class SigmoidLoss(WholeLoss):
    """The sum over pairs of an anchor and a candidate divided by the number of anchors."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        bias: Tensor,
        layout: PairLayout,
        learned: bool,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        (q,), (k,) = take(u, layout.anchors), take(u, layout.candidates)
        logits = torch.addmm(bias, q * scale, k.mT)  # of being wrong: positives' are negated
        layout.own(logits).neg_()
        value = F.softplus(logits, 1, LINEAR).sum() / len(q)
        if not keep:
            return (value,)
        slope = logits.sigmoid_().div_(len(q))
        layout.own(slope).neg_()
        dq = slope @ k
        of_scalars = ((dq * q).sum(), slope.sum()) if learned else ()
        du = layout.gather(dq.mul_(scale), slope.mT @ q * scale, u)
        return value, Unit.pull(du, u, lengths), *of_scalars


def whole_sigmoid(
    z: Float[Tensor, "2 n d"],
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
) -> Float[Tensor, ""] | None:
    """The unweighted loss of a small batch in one function; None where this is not possible."""
    require_positive(temperature=temperature)
    samples = range(z.shape[1])
    anchors, candidates = (range(1), samples[rows]), (range(1, 2), samples)
    layout = PairLayout(anchors, candidates, "one")
    if not (fits_whole(z, layout) and anchors[1]):
        return None
    z = precise(z)
    learned = isinstance(temperature, Tensor) or isinstance(bias, Tensor)
    scale = inverse(temperature, z)
    scalars = as_scalar(scale, z) if learned else scale, as_scalar(bias, z)
    return SigmoidLoss.of(z, *scalars, layout, learned)


def negatives(views: int, samples: int) -> int:
    """Every other sample in each of the other views."""
    return (views - 1) * (samples - 1)
