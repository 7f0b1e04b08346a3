"""Hard negatives, debiased (Robinson et al. 2021, https://arxiv.org/abs/2010.04592)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import PartialShare, Positive
from cl.losses._defined import mean, require_views
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare
from cl.losses._views import mean_over_view_pairs
from cl.precision import without_autocast


def hcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.5,  # the paper's
    tau_plus: PartialShare = 0.1,  # the authors' code's
    beta: float = 1.0,  # the authors' code's
) -> Float[Tensor, ""]:
    r"""Hard-negative contrastive loss: mean of $-\log(e^{s_p} / (e^{s_p} + N_g))$.

    $N_g = \max((K \bar n - \tau^+ K e^{s_p}) / (1 - \tau^+), K e^{-1/\tau})$, where $\bar n$ is
    the mean of $n_j = e^{s_{ij}}$ weighted by $n_j^\beta$ over the K embeddings of other ids. All
    of it is computed in the log domain. Use it with few classes, where random negatives are often
    of the anchor's class, or when most negatives are easy.

    Args:
        z: see `cl.losses`; of more than two views the loss is the mean over their pairs.
        ids: samples with equal ids are no negatives; the positive is the sample's own other view.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        tau_plus: the assumed share of negatives that are of the anchor's class; below 1.
        beta: concentration on hard negatives; 0 weighs all alike, which is `debiased`.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles that agree, temperature 1, no debiasing: log((e + 2) / e).

        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> round(hcl(z, temperature=1.0, tau_plus=0.0, beta=0.0).item(), 4)
        0.5514

        Equivalent, for two views, to:

        >>> z = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> e = (z.flatten(0, 1) @ z.flatten(0, 1).T / 0.5).exp()
        >>> pos, neg = e.diagonal(4).repeat(2), e[~torch.eye(4).repeat(2, 2).bool()].view(8, 6)
        >>> ng = (6 * neg.square().sum(1) / neg.sum(1) - 0.1 * 6 * pos) / 0.9
        >>> naive = -(pos / (pos + ng.clamp(min=6 * math.exp(-1 / 0.5)))).log().mean()
        >>> torch.testing.assert_close(hcl(z), naive)
    """
    require_views(z)
    if not 0 <= tau_plus < 1:
        raise ValueError(f"tau_plus must be at least 0 and below 1, not {tau_plus:g}")
    if len(z) > 2:
        options = {"temperature": temperature, "tau_plus": tau_plus, "beta": beta}
        return mean_over_view_pairs(lambda *pair: hcl(*pair, **options), z, ids, rows)
    with without_autocast(z):
        context = compare(z, ids, rows, temperature)
        n = z.shape[1]
        count = 2 * (n - context.class_sizes()[context.classes[rows]])
        count = count.to(context.z.dtype).expand(2, -1)
        has_negatives, count = count > 0, count.clamp(min=1)
        # log(K mean n) - log(1 - tau_plus), the mean weighted by n^beta
        hard = context.log_sum_exp(Denominator("all", positives=False), 1 + beta)
        easy = (
            context.log_sum_exp(Denominator("all", positives=False), beta) if beta else count.log()
        )
        hard = (hard - easy).masked_fill(~has_negatives, 0.0)
        biased = hard + count.log() - math.log1p(-tau_plus)
        # log(tau_plus K e^s_p) - log(1 - tau_plus), what is to be subtracted from it
        positive = context.select_other_views(context.own_cosines()) * context.scale
        bias = positive + (count * tau_plus).log() - math.log1p(-tau_plus)
        # Otherwise the difference is not positive: take the bound. NaN is no bound.
        is_larger = ~(biased <= bias)
        gap = (bias - biased).masked_fill(~is_larger, -1.0)
        negative = biased + torch.log1p(-gap.exp())
        bound = count.log() - context.scale
        negative = torch.where(is_larger, torch.maximum(negative, bound), bound)
        return mean(-F.logsigmoid(positive - negative) * has_negatives)


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
