"""DHEL (Koromilas et al. 2024, https://arxiv.org/abs/2405.18045): negatives of one's own view."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, mean_over_anchors, whole_loss
from cl.precision import without_autocast


def dhel(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.3,  # the authors' code's range is 0.1 to 0.5
    symmetric: bool = True,
    both_energies: bool = False,
) -> Float[Tensor, ""]:
    r"""Decoupled hyperspherical energy loss: mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$.

    The negatives j are the other samples in the anchor's own view. Use it to keep alignment and
    uniformity apart, at half of NT-Xent's similarities: the positive is in no denominator and no
    negative is of another view.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`; an anchor without positives counts as zero.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        symmetric: every view is an anchor; otherwise only the first.
        both_energies: add the log-sums of all views to a single positive term, as in the authors'
            code, which halves the relative weight of alignment.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles whose two views agree, temperature 1: log(1) - 1.

        >>> import torch
        >>> round(dhel(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        -1.0

        Equivalent, for two views, to:

        >>> z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits = (z @ z.mT / 0.3).masked_fill(torch.eye(4).bool(), -torch.inf)
        >>> naive = (logits.logsumexp(-1) - (z[0] * z[1]).sum(-1) / 0.3).mean()
        >>> torch.testing.assert_close(dhel(z), naive)
    """
    with without_autocast(z):
        anchor_views = ALL if symmetric or both_energies else slice(0, 1)
        weight, denominator = len(z) if both_energies else 1, Denominator("same", positives=False)
        shared = z, ids, rows, temperature
        whole = whole_loss(*shared, denominator, anchor_views=anchor_views, weight=weight)
        if whole is not None:
            return whole
        context = compare(*shared, anchor_views=anchor_views)
        energy = context.log_sum_exp(denominator) * weight
        return mean_over_anchors(energy, *context.mean_positive())


def negatives(views: int, samples: int) -> int:
    """Every other sample in the anchor's own view."""
    return samples - 1
