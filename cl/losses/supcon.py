"""Supervised contrastive loss (Khosla et al. 2020, https://arxiv.org/abs/2004.11362, eq. 2, 3)."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import require_positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, softmax_loss
from cl.losses._sum import pair_sum
from cl.losses._views import mean_over_view_pairs
from cl.losses.nt_xent import nt_xent
from cl.precision import without_autocast


def supcon(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # the paper's, section 4.4
    positives: Literal["out", "in", "in_sum", "single", "pairwise"] = "out",
    base_temperature: Positive | None = None,
    skip_empty: bool = False,
) -> Float[Tensor, ""]:
    r"""NT-Xent for many positives: $\log \sum_{j \ne i} e^{s_{ij}}$ minus their mean similarity.

    Use it with class labels as ids; without ids the positives are the sample's other views.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        positives: out, the paper's choice, takes their mean similarity; in the log of their mean
            exponential, in_sum (solo-learn's) of their sum; single leaves the other positives out
            of each one's denominator; pairwise is the mean of NT-Xent over pairs of views.
        base_temperature: multiply the loss by the temperature over this (0.07 in the authors'
            code), a factor that has no gradient; None: do not.
        skip_empty: average over the anchors that have positives; otherwise the others count as
            zero.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples of one class at right angles, one view: log(e^0) - 0.

        >>> import torch
        >>> supcon(torch.eye(2)[None], torch.tensor([1, 1]), temperature=1.0).item()
        0.0

        Equivalent to:

        >>> z, ids = F.normalize(torch.randn(2, 4, 8), dim=-1), torch.tensor([0, 0, 1, 2])
        >>> same = (ids.repeat(2) == ids.repeat(2)[:, None]).fill_diagonal_(False)
        >>> logits = (z.flatten(0, 1) @ z.flatten(0, 1).T / 0.1).fill_diagonal_(-torch.inf)
        >>> log_p = logits.log_softmax(1).masked_fill(~same, 0)
        >>> torch.testing.assert_close(supcon(z, ids), -(log_p.sum(1) / same.sum(1)).mean())
    """
    require_positive(temperature=temperature, base_temperature=base_temperature)
    constant = temperature.detach() if isinstance(temperature, Tensor) else temperature
    factor = 1.0 if base_temperature is None else constant / base_temperature
    if positives == "pairwise":
        return factor * mean_over_view_pairs(
            lambda *pair: nt_xent(*pair, temperature=temperature), z, ids, rows
        )
    if positives == "out" and (len(z) > 1 or not skip_empty):  # then every anchor is averaged
        return factor * softmax_loss(z, ids, rows, temperature, Denominator("all", positives=True))
    with without_autocast(z):
        context = compare(z, ids, rows, temperature)
        count = context.mean_positive()[1]
        has_positives, divisor = count > 0, count.clamp(min=1).to(context.z.dtype)
        if positives == "single":
            value = pair_sum(
                context,
                lambda pairs: pairs.same_id & ~pairs.same_embedding,
                lambda cosine, _, scale, negative, m: -F.logsigmoid(cosine * scale - negative) / m,
                [context.scale],
                [context.log_sum_exp(Denominator("all", positives=False)), divisor],
            )
        elif positives == "out":
            value = context.softmax_losses(Denominator("all", positives=True)).sum()
        else:
            positive = context.log_sum_exp(lambda pairs: pairs.same_id & ~pairs.same_embedding)
            losses = -F.logsigmoid(
                positive - context.log_sum_exp(Denominator("all", positives=False))
            )
            losses = losses + divisor.log() if positives == "in" else losses
            value = losses.masked_fill(~has_positives, 0.0).sum()
        # `value` is a sum over the local anchors; the mean is over the anchors of all processes.
        counts = context.all_anchors().mean_positive()[1]
        averaged = (counts > 0).sum().clamp(min=1) if skip_empty else max(1, counts.numel())
        return factor * value / averaged * (counts.shape[1] / max(1, has_positives.shape[1]))


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample; with ids some of them are positives."""
    return views * (samples - 1)
