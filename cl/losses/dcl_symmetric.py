"""DCL (Yeh et al. 2022, https://arxiv.org/abs/2110.06848) with all views as anchors."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, softmax_loss


def dcl_symmetric(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # the paper's
) -> Float[Tensor, ""]:
    r"""Symmetric DCL: mean over all views of $-s_{ip} + \log \sum_{j: id_j \ne id_i} e^{s_{ij}}$.

    Use it with small batches, as `dcl`, when every view should be an anchor.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`; an anchor without positives counts as zero.
        rows: see `cl.losses`.
        temperature: divides the cosines.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles whose two views agree, temperature 1: log(1 + 1) - 1.

        >>> import torch
        >>> round(dcl_symmetric(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        -0.3069

        Equivalent, for two views, to:

        >>> z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits = z.flatten(0, 1) @ z.flatten(0, 1).T / 0.1
        >>> own = torch.eye(4, dtype=torch.bool).repeat(2, 2)
        >>> log_denominator = logits.masked_fill(own, -torch.inf).logsumexp(1)
        >>> naive = (log_denominator - logits.diagonal(4).repeat(2)).mean()
        >>> torch.testing.assert_close(dcl_symmetric(z), naive)
    """
    return softmax_loss(z, ids, rows, temperature, denominator=Denominator("all", positives=False))


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
