"""MV-DHEL: DHEL for many views (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_views
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, whole_loss
from cl.precision import without_autocast


def mv_dhel(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.3,
) -> Float[Tensor, ""]:
    r"""Mean over i of $\sum_k \log \sum_{j \ne i} e^{s_{ki,kj}} - \log \sum_{k<l} e^{s_{ki,li}}$.

    Every view is spread on its own; the views of a sample are aligned in one logarithm. Use it
    with more than two views, which are then compared jointly instead of pair by pair.

    Args:
        z: see `cl.losses`; two views or more.
        ids: samples with equal ids are no negatives; positives are the sample's own other views.
        rows: see `cl.losses`.
        temperature: divides the cosines.

    Returns:
        The mean over the local samples, a scalar.

    Raises:
        ValueError: there is only one view.

    Example:
        Two samples at right angles whose two views agree, temperature 1: 0 + 0 - log(e).

        >>> round(mv_dhel(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        -1.0

        Equivalent, for two views, to:

        >>> z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits = (z @ z.mT / 0.3).masked_fill(torch.eye(4).bool(), -torch.inf)
        >>> naive = (logits.logsumexp(-1).sum(0) - (z[0] * z[1]).sum(-1) / 0.3).mean()
        >>> torch.testing.assert_close(mv_dhel(z), naive)
    """
    require_views(z)
    denominator = Denominator("same", positives=False)
    with without_autocast(z):
        if ids is None:
            joint = len(z) > 2  # of two views the mean is that of one pair
            whole = whole_loss(
                z, None, rows, temperature, denominator, weight=float(len(z)), joint=joint
            )
            if whole is not None:
                return whole
        context = compare(z, ids, rows, temperature)
        energy = context.log_sum_exp(denominator).sum(dim=0)
        energy = energy.masked_fill(energy == -torch.inf, 0.0)
        # `own_positives` has every pair of views twice.
        alignment = (context.own_positives() - math.log(2)).logsumexp(dim=(0, 1))
        return mean(energy - alignment)


def negatives(views: int, samples: int) -> int:
    """Every other sample in the anchor's own view."""
    return samples - 1
