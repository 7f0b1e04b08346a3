"""Triplet loss (Schroff et al. 2015, FaceNet, https://arxiv.org/abs/1503.03832, eq. 3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.precision import precise


def triplet(
    z: Float[Tensor, "3 n d"],
    *,
    margin: float = 1.0,  # torch's
    eps: float = 1e-6,  # torch's
) -> Float[Tensor, ""]:
    r"""Mean of $\max(0, d(a, p) - d(a, n) + m)$.

    Args:
        z: anchors, positives and negatives; not normalised, d is their Euclidean distance.
        margin: m.
        eps: added to every coordinate of a difference, as torch does, so that a root has a
            gradient where two embeddings are one.

    An anchor at 0, its positive at 2, its negative at 1.5: 2 - 1.5 + 1.

    >>> round(triplet(torch.tensor([[[0.0]], [[2.0]], [[1.5]]])).item(), 4)
    1.5
    """
    with torch.autocast(z.device.type, enabled=False):
        anchor, positive, negative = precise(z)
        near, far = ((anchor - other + eps).norm(dim=-1) for other in (positive, negative))
        return F.relu(near - far + margin).mean()
