"""DCL (Yeh et al. 2022, https://arxiv.org/abs/2110.06848): the positive only in front."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, softmax_loss


def dcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # the paper's
) -> Float[Tensor, ""]:
    r"""Decoupled contrastive loss: mean of $-s_{ip} + \log \sum_{j: id_j \ne id_i} e^{s_{ij}}$.

    Anchors i are the first view's, negatives j are of every view. Use it with small batches: an
    easy positive does not weaken the gradient of the negatives, as it is not in the denominator.

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
        >>> round(dcl(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        -0.3069

        Equivalent to:

        >>> u, v = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> own = torch.eye(4, dtype=torch.bool).repeat(1, 2)
        >>> logits = (u @ torch.cat([u, v]).T / 0.1).masked_fill(own, -torch.inf)
        >>> naive = (logits.logsumexp(1) - (u * v).sum(1) / 0.1).mean()
        >>> torch.testing.assert_close(dcl(torch.stack([u, v])), naive)
    """
    return softmax_loss(
        z,
        ids,
        rows,
        temperature,
        denominator=Denominator("all", positives=False),
        anchor_views=slice(0, 1),
    )


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
