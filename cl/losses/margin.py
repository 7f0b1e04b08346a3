"""The contrastive loss of pairs, with a margin.

Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", eq. 4.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cl.precision import precise


def margin(
    z: Float[Tensor, "2 n d"],
    same: Bool[Tensor, " n"],
    *,
    margin: float = 1.0,
    half: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $d^2$ for pairs that belong together, of $\max(0, m - d)^2$ for the others.

    Args:
        z: both sides of the pairs; not normalised, d is their Euclidean distance.
        same: which pairs belong together.
        margin: m, the distance that is far enough.
        half: times a half, as in the paper.

    A pair that belongs together at distance 2 and one that does not at 0.5: (4 + 0.25) / 2.

    >>> z = torch.tensor([[[0.0], [0.0]], [[2.0], [0.5]]])
    >>> margin(z, torch.tensor([True, False])).item()
    2.125
    """
    with torch.autocast(z.device.type, enabled=False):
        u, v = precise(z)
        squared = (u - v).square().sum(dim=-1)
        # A root has no gradient at zero; two embeddings that are one push each other nowhere.
        distance = squared.clamp(min=torch.finfo(squared.dtype).tiny).sqrt()
        apart = F.relu(margin - distance).square()
        return torch.where(same, squared, apart).mean() * (0.5 if half else 1.0)
