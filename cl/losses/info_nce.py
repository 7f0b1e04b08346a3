"""InfoNCE between views (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, softmax_loss


def info_nce(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,  # MoCo v1's 0.07 to SimCLR's 0.5
    symmetric: bool = True,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$, j in another view, the positive included.

    Use it when anchors and candidates come from different encoders, or for half of NT-Xent's
    similarities: nothing is compared within a view.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`; an anchor without positives counts as zero.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        symmetric: every view is an anchor; otherwise only the first, as in the paper.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles whose two views agree, temperature 1: log(e + 1) - 1.

        >>> import torch
        >>> round(info_nce(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.3133

        Equivalent, for two views and the first as anchor, to:

        >>> import torch.nn.functional as F
        >>> u, v = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> naive = F.cross_entropy(u @ v.T / 0.1, torch.arange(4))
        >>> torch.testing.assert_close(info_nce(torch.stack([u, v]), symmetric=False), naive)
    """
    one_way = {"anchor_views": slice(0, 1), "candidate_views": slice(1, None)}
    views = {} if symmetric else one_way
    return softmax_loss(
        z, ids, rows, temperature, denominator=Denominator("other", positives=True), **views
    )


def negatives(views: int, samples: int) -> int:
    """Every other sample in each of the other views."""
    return (views - 1) * (samples - 1)
