"""NT-Xent, SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709, eq. 1)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, softmax_loss


def nt_xent(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.2,  # ImageNet-100's recipes
    global_views: int | None = None,
) -> Float[Tensor, ""]:
    r"""Normalized temperature-scaled cross entropy: $-s_{ip} + \log \sum_{j \ne i} e^{s_{ij}}$.

    It is averaged over all views; the denominator has all but the anchor itself. With class ids
    it is SupCon's $L_{out}$ (Khosla et al. 2020, eq. 2). SimCLR's own code returns twice this.
    Use it as the default, with large batches.

    Args:
        z: see `cl.losses`; with multi-crop the global crops come first.
        ids: see `cl.losses`; an anchor without positives counts as zero.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        global_views: only so many first views, the global crops, are candidates; from 1 to v;
            None: all.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles whose two views agree, temperature 1: log(e + 2) - 1.

        >>> import torch
        >>> round(nt_xent(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.5514

        Equivalent, for two views, to:

        >>> import torch.nn.functional as F
        >>> z = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits = z.flatten(0, 1) @ z.flatten(0, 1).T / 0.2
        >>> naive = F.cross_entropy(logits.fill_diagonal_(-torch.inf), torch.arange(8).roll(4))
        >>> torch.testing.assert_close(nt_xent(z), naive)
    """
    return softmax_loss(
        z,
        ids,
        rows,
        temperature,
        denominator=Denominator("all", positives=True),
        candidate_views=slice(0, global_views),
    )


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
