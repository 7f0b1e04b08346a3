"""ReLIC (Mitrovic et al. 2021, https://arxiv.org/abs/2010.07922)."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import NonNegative, Positive
from cl.losses._defined import mean, require_positive
from cl.losses._direct import scaled_products
from cl.losses._divergence import divergence_sum
from cl.losses._function import WholeLoss
from cl.losses._logsumexp import MAX_SAFE_SCALE
from cl.losses._pairs import Denominator
from cl.losses._pairwise import (
    ALL,
    PairContext,
    Rows,
    compare,
    inverse,
    is_small,
    largest_scale,
)
from cl.losses._views import pairs_with_targets
from cl.precision import Unit, precise, without_autocast

CPU_PAIRS, GPU_PAIRS = 2**19, 2**24  # of a block, where not all pairs are kept


def relic(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    target: Float[Tensor, "g n d"] | None = None,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,
    alpha: NonNegative = 0.5,
) -> Float[Tensor, ""]:
    r"""Mean of $-l_{ii} + \log \sum_j e^{l_{ij}} + \alpha\,KL(q_i \| r_i)$: InfoNCE and a penalty.

    The mean is over anchors and over all pairs of a view and another view's target; see
    `invariance_penalty` for q and r. With a target, q is the target's anchor among the online
    candidates, as in the code that the recipes are from (filipbasara0/relic); in the paper it is
    the other view's online anchor among the targets of this one. Without a target both are the
    same. Use it when not only the positive but the whole ranking of
    the other samples should be the same from both views.

    Args:
        z: see `cl.losses`; two views or more.
        ids: see `cl.losses`.
        rows: see `cl.losses`.
        target: `(g, n, d)` embeddings of the first g views by a target encoder; None: z itself.
        temperature: divides the cosines.
        alpha: weight of the invariance penalty.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles that agree, temperature 1: log(e + 1) - 1, and no penalty.

        >>> round(relic(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.3133

        Equivalent, for two views and no target encoder, to:

        >>> import torch.nn.functional as F
        >>> def one_way(s):
        ...     kl = F.kl_div(s.log_softmax(1), s.T.log_softmax(1), None, None, "batchmean", True)
        ...     return F.cross_entropy(s, torch.arange(4)) + 0.5 * kl
        >>> u, v = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> naive = (one_way(u @ v.T / 0.1) + one_way(v @ u.T / 0.1)) / 2
        >>> torch.testing.assert_close(relic(torch.stack([u, v])), naive)
    """
    require_positive(temperature=temperature)
    one_way: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
    with without_autocast(z):
        safe = 2 * largest_scale(temperature) <= MAX_SAFE_SCALE  # of two similarities' difference
        any_local = len(range(z.shape[1])[rows]) > 0 and z.shape[-1] > 0
        if ids is None and alpha and safe and any_local and not torch.compiler.is_compiling():
            both = target is None  # without targets the two ways of a pair have the same numbers
            pairs = pairs_with_targets(z, target, symmetric=both)
            losses = [whole_relic(pair, rows, temperature, alpha, both=both) for pair in pairs]
            return torch.stack(losses).mean()
        losses = []
        for pair in pairs_with_targets(z, target, symmetric=False):
            context = compare(pair, ids, rows, temperature, **one_way)
            loss = mean(context.softmax_losses(Denominator("other", positives=True)))
            losses.append(loss + alpha * invariance_penalty(context) if alpha else loss)
        return torch.stack(losses).mean()


class RelicLoss(WholeLoss):
    """The loss of anchors in the first view, or the mean of it and of that of the second.

    Anchors are compared with all candidates, some at a time; value and gradients are found at once.
    """

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        samples: range,
        alpha: float,
        both: bool,
        pairs: int,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        unit, lengths = Unit.forward(z)
        (u, v), total = unit, torch.zeros((), dtype=torch.float64, device=z.device)
        gradient = torch.zeros_like(unit) if keep else unit.new_empty(0)
        for start in range(samples.start, samples.stop, block := max(1, pairs // len(u))):
            part = range(start, min(start + block, samples.stop))
            rows = slice(part.start, part.stop)
            value, dq, dr = of_anchors(u, v, part, scale, alpha, both=both)
            total += value
            if not keep:
                continue
            du, dv = gradient
            if len(part) == len(u):  # the logits of q are those of r the other way round
                dr += dq.mT
            else:
                du.addmm_(dq.mT, v[rows])
                dv[rows].addmm_(dq, u)
            du[rows].addmm_(dr, v)
            dv.addmm_(dr.mT, u[rows])
        share = 1 / len(samples) / (2 if both else 1)
        loss = (total * share).to(z.dtype)
        if not keep:
            return (loss,)
        dscale = (gradient[0] * u).sum() * share if isinstance(scale, Tensor) else None
        dz = Unit.pull(gradient.mul_(scale * share), unit, lengths)
        return (loss, dz) if dscale is None else (loss, dz, dscale)


def of_anchors(
    u: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    samples: range,
    scale: float | Tensor,
    alpha: float,
    *,
    both: bool,
) -> tuple[Float[Tensor, ""], Float[Tensor, "r n"], Float[Tensor, "r n"]]:
    r"""The sum of some anchors' losses, and its gradients by the logits of q and of r.

    With $c = l_{ji} - l_{ij}$ the two softmaxes differ by $r - q = q (e^{-c} - 1 - t) / (1 + t)$,
    $t = \sum_j q_j (e^{-c_j} - 1)$, which is accurate where they are near each other.

    Args:
        u: one view of all samples, of unit length.
        v: the other view.
        samples: of the anchors.
        scale: the inverse temperature.
        alpha: see `relic`.
        both: whether the second view's anchors count too, for which q and r change places.
    """
    start, rows = samples.start, slice(samples.start, samples.stop)
    change, of_q = logit_differences(u, v, rows, scale), scaled_products(v[rows], u, scale)
    r, rest_r, log_r = softmax((of_q - change).exp_(), start)
    q, rest_q, log_q = softmax(of_q.exp_(), start)
    shift = torch.expm1(-change)
    t = (q * shift).sum(dim=1, keepdim=True)
    apart = shift.sub_(t).mul_(q).div_(1 + t)  # r - q
    mean_q = (q * change).sum(dim=1, keepdim=True)
    gap = (apart * change).sum(dim=1, keepdim=True)
    divergence = -gap if both else mean_q + t.log1p()
    value = alpha * divergence.sum() - log_r.sum() - (log_q.sum() if both else 0.0)
    dq = (change - mean_q).mul_(q)
    dr = apart - change.sub_(mean_q + gap).mul_(r) if both else apart
    dq = dq.sub_(apart) if both else dq
    dq, dr = dq.mul_(alpha), dr.mul_(alpha)
    for d, p, rest in ((dr, r, rest_r), (dq, q, rest_q))[: 2 if both else 1]:
        p.diagonal(start).copy_(-rest)  # p - 1, accurate where p is near 1
        d += p
    return value, dq, dr


def logit_differences(
    u: Float[Tensor, "n d"], v: Float[Tensor, "n d"], rows: Rows, scale: float | Tensor
) -> Float[Tensor, "r n"]:
    """The logits $s (v_i u_j - u_i v_j)$ of anchors i, as exact as the views' differences are."""
    difference, middle = v - u, (v + u) / 2
    anchors = torch.cat([difference[rows], -middle[rows]], dim=1)
    return scaled_products(anchors, torch.cat([middle, difference], dim=1), scale)


def softmax(
    x: Float[Tensor, "r n"], start: int
) -> tuple[Float[Tensor, "r n"], Float[Tensor, " r"], Float[Tensor, " r"]]:
    """The shares of exponentials in the sums of their rows, which are overwritten.

    Args:
        x: exponentials.
        start: of which candidate the first anchor is a view.

    Returns:
        All shares, those of other samples together, and the log of the own one.
    """
    own = x.diagonal(start)
    positive = own.clone()
    own.zero_()
    rest = x.sum(dim=1)
    own.copy_(positive)
    total = rest + positive
    return x.div_(total.unsqueeze(1)), rest / total, -(rest / positive).log1p()


def whole_relic(
    pair: Float[Tensor, "2 n d"],
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    alpha: float,
    *,
    both: bool,
) -> Float[Tensor, ""]:
    """The loss without ids in one function; the mean of both ways, if wanted."""
    pair, number = precise(pair), pair.shape[1]
    pairs = number**2 if is_small(pair, number**2) else GPU_PAIRS if pair.is_cuda else CPU_PAIRS
    given = range(number)[rows], alpha, both, pairs
    return RelicLoss.of(pair, inverse(temperature, pair), *given)


def invariance_penalty(context: PairContext) -> Float[Tensor, ""]:
    r"""Mean of $KL(q_i \| r_i)$, $r_{ij} \propto e^{l_{ij}}$ and $q_{ij} \propto e^{l_{ji}}$.

    $l_{ij}$ is the similarity of anchor i in the first view to candidate j in the second.

    Args:
        context: two views, anchors in the first and candidates in the second.

    Returns:
        The mean over the local anchors, a scalar.
    """
    u, v = context.z
    rows = slice(context.anchors[1].start, context.anchors[1].stop)
    total = divergence_sum(u, v, context.scale, rows, context.block_size**2 // 8)
    return total / max(1, len(context.anchors[1]))


def negatives(views: int, samples: int) -> int:
    """Every other sample in each of the other views."""
    return (views - 1) * (samples - 1)
