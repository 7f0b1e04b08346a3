"""MV-InfoNCE: one term for all views (Koromilas et al. 2025, https://arxiv.org/abs/2507.06979)."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare
from cl.precision import without_autocast


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
    with without_autocast(z):
        context = compare(z, None, rows, temperature)
        positive = context.own_positives().logsumexp(dim=(0, 1))
        negative = context.log_sum_exp(Denominator("all", positives=False)).logsumexp(dim=0)
        return mean(-F.logsigmoid(positive - negative))


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
