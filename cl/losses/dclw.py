"""Weighted DCL (Yeh et al. 2022, https://arxiv.org/abs/2110.06848)."""

from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import require_positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, mean_over_anchors, whole_loss
from cl.precision import without_autocast


def dclw(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # the paper's
    sigma: Positive = 0.5,  # the paper's
    symmetric: bool = False,
    through_weights: bool = False,
) -> Float[Tensor, ""]:
    r"""DCL with positives weighted by $w_i = 2 - e^{c_i/\sigma} / \mathrm{mean}_j e^{c_j/\sigma}$.

    $c_i$ is an anchor's cosine with its positive; the mean is over the whole batch of all
    processes. Use it instead of `dcl` when most positives are easy: a pair that agrees already
    gets a smaller weight.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`; an anchor without positives counts as zero.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        sigma: temperature of the weights; a smaller one separates easy and hard positives more.
        symmetric: every view is an anchor; otherwise only the first.
        through_weights: the weights get a gradient, as in the authors' code; the paper is silent.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles that agree in both views: all weights are 1, so log(1 + 1) - 1.

        >>> import torch
        >>> round(dclw(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        -0.3069

        Equivalent to:

        >>> u, v = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> own, cosine = torch.eye(4, dtype=torch.bool).repeat(1, 2), (u * v).sum(1)
        >>> logits = (u @ torch.cat([u, v]).T / 0.1).masked_fill(own, -torch.inf)
        >>> weights = 2 - 4 * (cosine / 0.5).softmax(0)
        >>> naive = (logits.logsumexp(1) - weights * cosine / 0.1).mean()
        >>> torch.testing.assert_close(dclw(torch.stack([u, v])), naive)
    """
    require_positive(sigma=sigma)
    denominator = Denominator("all", positives=False)
    anchor_views = ALL if symmetric else slice(0, 1)
    with without_autocast(z):
        if ids is None and len(z) == 2 and not through_weights:
            shared: dict[str, Any] = {
                "anchor_views": anchor_views,
                "adjust": partial(weigh, sigma, rows),
            }
            whole = whole_loss(z, None, rows, temperature, denominator, **shared)
            if whole is not None:
                return whole
        context = compare(z, ids, rows, temperature, anchor_views=anchor_views)
        agreement = context.all_anchors().mean_positive()[0] / context.scale / sigma
        weights = 2 - len(z[0]) * agreement.softmax(dim=1)[:, rows]
        weights = weights if through_weights else weights.detach()
        positive, count = context.mean_positive()
        log_denominator = context.log_sum_exp(denominator)
        return mean_over_anchors(log_denominator, weights * positive, count)


def weigh(
    sigma: float, rows: Rows, u: Float[Tensor, "2 n d"], positive: Float[Tensor, "v r"], _: object
) -> tuple[Float[Tensor, "v r"], Float[Tensor, " r"]]:
    """The weighted similarities to the positives, and the weights."""
    weights = 2 - u.shape[1] * ((u[0] * u[1]).sum(dim=-1) / sigma).softmax(dim=0)[rows]
    return positive * weights, weights


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
