"""Hard negatives, debiased (Robinson et al. 2021, https://arxiv.org/abs/2010.04592)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import PartialShare, Positive
from cl.losses._defined import mean, require_positive, require_views
from cl.losses._direct import gradients, similarity_gradients, sum_exponentials
from cl.losses._function import WholeLoss
from cl.losses._layout import PairLayout
from cl.losses._logsumexp import MAX_SAFE_SCALE
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, fits_whole, inverse, largest_scale
from cl.losses._views import mean_over_view_pairs
from cl.losses._whole import LINEAR
from cl.precision import Unit, precise, without_autocast


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
        whole = whole_hcl(z, rows, temperature, tau_plus, beta) if ids is None else None
        if whole is not None:
            return whole
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
        one, other = context.z[:, rows]
        positive = (one * other).sum(dim=-1).expand(2, -1) * context.scale
        bias = positive + (count * tau_plus).log() - math.log1p(-tau_plus)
        # Otherwise the difference is not positive: take the bound. NaN is no bound.
        is_larger = ~(biased <= bias)
        gap = (bias - biased).masked_fill(~is_larger, -1.0)
        negative = biased + torch.log1p(-gap.exp())
        bound = count.log() - context.scale
        negative = torch.where(is_larger, torch.maximum(negative, bound), bound)
        return mean(-F.logsigmoid(positive - negative) * has_negatives)


class HardLoss(WholeLoss):
    """The loss of two views of samples that are classes of their own."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        layout: PairLayout,
        tau_plus: float,
        beta: float,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        lse, positive, x, sums = sum_exponentials(q, k, scale, layout)
        count, positive = 2 * (z.shape[1] - 1), positive.flatten()
        easy, easy_sums = (x, sums) if beta in (0, 1) else power_sums(x, beta)
        hard, hard_sums = power_sums(x, 1 + beta) if beta else (x, sums)
        # The names and the rules are those of the function.
        log_easy = math.log(count) if beta == 0 else lse if beta == 1 else easy_sums.log()
        biased = hard_sums.log() - log_easy + math.log(count) - math.log1p(-tau_plus)
        share = tau_plus * count / (1 - tau_plus)
        bias = positive + (math.log(share) if share else -torch.inf)
        is_larger = ~(biased <= bias)
        odds = (bias - biased).masked_fill_(~is_larger, -1.0).exp_()
        negative, bound = biased + torch.log1p(-odds), math.log(count) - scale
        is_bound = ~is_larger | (negative < bound)
        negative = torch.where(is_bound, bound, negative)
        rest = negative - positive
        value = F.softplus(rest, 1, LINEAR).mean()
        if not keep:
            return (value,)
        g = rest.sigmoid().mul_(1 / len(rest))
        of_biased = (g / (1 - odds)).masked_fill_(is_bound, 0.0)
        of_positive = (of_biased * odds + g).neg_() * scale
        weight = of_biased * scale
        p = similarity_gradients(weight * (1 + beta) / hard_sums, hard, layout)
        if beta:
            p -= similarity_gradients(weight * beta / easy_sums, easy, layout)
        learned = isinstance(scale, Tensor)
        dq, dk, dscale = gradients(p, of_positive, layout, learned, q, k, scale)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale - (g * is_bound).sum())


def power_sums(x: Float[Tensor, "a c"], power: float) -> tuple[Tensor, Tensor]:
    """A power of exponentials, of which those of the same sample are 0, and its sums by rows."""
    x = x.pow(power)
    return x, x.sum(dim=-1)


def whole_hcl(
    z: Float[Tensor, "2 n d"],
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    tau_plus: float,
    beta: float,
) -> Float[Tensor, ""] | None:
    """The loss of a small batch without ids in one function; None where this is not possible."""
    require_positive(temperature=temperature)
    samples = range(z.shape[1])
    layout = PairLayout((range(2), samples[rows]), (range(2), samples), "one")
    safe = beta >= 0 and largest_scale(temperature) * (1 + beta) <= MAX_SAFE_SCALE
    if not (safe and len(samples) > 1 and samples[rows] and fits_whole(z, layout)):
        return None
    z = precise(z)
    return HardLoss.of(z, inverse(temperature, z), layout, tau_plus, beta)


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
