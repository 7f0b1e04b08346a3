"""CLIP: two towers, one batch (Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import require_views
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, softmax_loss


def clip(
    z: Float[Tensor, "2 n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.07,  # where the paper's starts to learn
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ii} + \log \sum_j e^{s_{ij}}$, from images to texts and from texts to images.

    Use it for two encoders, one per modality; nothing is compared within a tower.

    Args:
        z: embeddings of both towers, image i and text i being a pair; see `cl.losses`.
        ids: see `cl.losses`; pairs with equal ids, such as repeated captions, are positives.
        rows: see `cl.losses`.
        temperature: divides the cosines.

    Returns:
        The mean over the local anchors of both towers, a scalar.

    Example:
        Two pairs at right angles whose sides agree, temperature 1: log(e + 1) - 1.

        >>> import torch
        >>> round(clip(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.3133

        Equivalent to:

        >>> import torch.nn.functional as F
        >>> u, v = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> logits, labels = u @ v.T / 0.07, torch.arange(4)
        >>> naive = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        >>> torch.testing.assert_close(clip(torch.stack([u, v])), naive)
    """
    require_views(z)
    return softmax_loss(z, ids, rows, temperature, denominator=Denominator("other", positives=True))


def negatives(views: int, samples: int) -> int:
    """The other samples in the other tower."""
    return (views - 1) * (samples - 1)
