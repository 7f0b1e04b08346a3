"""Triplet loss of distances that are not squared (Balntas et al. 2016, BMVC), as torch's.

FaceNet (Schroff et al. 2015, https://arxiv.org/abs/1503.03832) squares them.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import NonNegative, Share
from cl.losses._defined import mean, require_views
from cl.precision import length, precise, without_autocast


def triplet(
    z: Float[Tensor, "3 n d"],
    *,
    margin: NonNegative = 1.0,  # torch's
    eps: Share = 1e-6,  # torch's
) -> Float[Tensor, ""]:
    r"""Mean of $\max(0, d(a, p) - d(a, n) + m)$.

    Use it for triplets that are given, or mined.

    Args:
        z: `(3, n, d)` embeddings of anchors, positives and negatives; d is their Euclidean
            distance, of embeddings that are not normalized.
        margin: m, by how much a negative must be farther away than the positive.
        eps: added to every coordinate of a difference, as torch does, so that the distance of two
            equal embeddings has a gradient.

    Returns:
        The mean over triplets, a scalar.

    Example:
        An anchor at 0, its positive at 2, its negative at 1.5: 2 - 1.5 + 1.

        >>> import torch
        >>> round(triplet(torch.tensor([[[0.0]], [[2.0]], [[1.5]]])).item(), 4)
        1.5

        Equivalent to:

        >>> z = torch.randn(3, 4, 8)
        >>> torch.testing.assert_close(triplet(z), F.triplet_margin_loss(*z))
    """
    require_views(z, exactly=3)
    with without_autocast(z):
        anchor, positive, negative = precise(z)
        near, far = (length(anchor - other + eps) for other in (positive, negative))
        return mean(F.relu(near - far + margin))
