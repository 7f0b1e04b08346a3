"""ReLIC (Mitrovic et al. 2021, https://arxiv.org/abs/2010.07922)."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import NonNegative, Positive
from cl.losses._defined import mean
from cl.losses._divergence import divergence_sum
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, PairContext, Rows, compare
from cl.losses._views import pairs_with_targets
from cl.precision import without_autocast


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
    `invariance_penalty` for q and r. Use it when not only the positive but the whole ranking of
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
    one_way: dict[str, Any] = {"anchor_views": slice(0, 1), "candidate_views": slice(1, 2)}
    losses = []
    with without_autocast(z):
        for pair in pairs_with_targets(z, target, symmetric=False):
            context = compare(pair, ids, rows, temperature, **one_way)
            loss = mean(context.softmax_losses(Denominator("other", positives=True)))
            losses.append(loss + alpha * invariance_penalty(context) if alpha else loss)
        return torch.stack(losses).mean()


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
