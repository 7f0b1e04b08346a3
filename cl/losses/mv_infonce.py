"""MV-InfoNCE: one term for all views (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_positive, require_views
from cl.losses._direct import gradients, scaled_products, similarity_gradients
from cl.losses._function import WholeLoss
from cl.losses._layout import PairLayout
from cl.losses._logsumexp import MAX_SAFE_SCALE
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, fits_whole, inverse, largest_scale
from cl.losses._whole import LINEAR
from cl.precision import Unit, precise, without_autocast


def mv_infonce(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.3,
) -> Float[Tensor, ""]:
    r"""Mean of $\log \sum_k \sum_{j \ne ki} e^{s_{ki,j}} - \log \sum_{k \ne l} e^{s_{ki,li}}$.

    All views of a sample are compared in one logarithm instead of pair by pair. Use it with more
    than two views.

    Args:
        z: see `cl.losses`; two views or more.
        ids: have no effect: positives are the sample's own other views, all others negatives.
        rows: see `cl.losses`.
        temperature: divides the cosines.

    Returns:
        The mean over the local samples, a scalar.

    Raises:
        ValueError: there is only one view.

    Example:
        Two samples at right angles whose two views agree, temperature 1: log(2 (e + 2)) - log(2 e).

        >>> import torch
        >>> round(mv_infonce(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.5514

        Equivalent, for two views, to:

        >>> z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits = (z.flatten(0, 1) @ z.flatten(0, 1).T / 0.3).fill_diagonal_(-torch.inf)
        >>> positive = torch.stack([logits.diagonal(4), logits.diagonal(-4)]).logsumexp(0)
        >>> naive = (logits.logsumexp(1).view(2, 4).logsumexp(0) - positive).mean()
        >>> torch.testing.assert_close(mv_infonce(z), naive)
    """
    require_views(z)
    with without_autocast(z):
        whole = whole_mv_infonce(z, rows, temperature)
        if whole is not None:
            return whole
        context = compare(z, None, rows, temperature)
        positive = context.own_positives().logsumexp(dim=(0, 1))
        negative = context.log_sum_exp(Denominator("all", positives=False)).logsumexp(dim=0)
        return mean(-F.logsigmoid(positive - negative))


class JointLoss(WholeLoss):
    """The loss with its gradient, of samples that are classes of their own."""

    @staticmethod
    def forward(
        z: Tensor, scale: Tensor | float, layout: PairLayout, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        x = scaled_products(q, q if k is None else k, scale)
        of_sample = layout.own(x)
        layout.fill_self(of_sample, -torch.inf)
        own = of_sample.clone()
        of_sample.fill_(-torch.inf)
        positive = own.flatten(0, 1).logsumexp(dim=0)
        sums = x.exp_().sum(dim=-1).view(len(z), -1).sum(dim=0)
        rest = sums.log() - positive
        value = F.softplus(rest, 1, LINEAR).mean()
        if not keep:
            return (value,)
        g = rest.sigmoid() * (scale / len(rest))
        p = similarity_gradients((g / sums).repeat(len(z)), x, layout)
        of_positive = (own - positive).exp_().mul_(-g)
        if k is None:  # a pair is in the rows of both
            of_positive = of_positive + of_positive.transpose(0, 1)
        layout.own(p).copy_(of_positive)
        dq, dk, dscale = gradients(p, None, layout, isinstance(scale, Tensor), q, k, scale)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale)


def whole_mv_infonce(
    z: Float[Tensor, "v n d"], rows: Rows, temperature: float | Float[Tensor, ""]
) -> Float[Tensor, ""] | None:
    """The loss of a small batch in one function; None where this is not possible."""
    require_positive(temperature=temperature)
    views, samples = range(len(z)), range(z.shape[1])
    layout = PairLayout((views, samples[rows]), (views, samples), "one")
    safe = largest_scale(temperature) <= MAX_SAFE_SCALE
    if not (safe and len(samples) > 1 and samples[rows] and fits_whole(z, layout)):
        return None
    z = precise(z)
    return JointLoss.of(z, inverse(temperature, z), layout)


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
