"""The contrastive loss of pairs, with a margin.

Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", eq. 4.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_views
from cl.precision import precise, without_autocast


def margin(
    z: Float[Tensor, "2 n d"],
    same: Bool[Tensor, " n"],
    *,
    margin: Positive = 1.0,
    half: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $d^2$ for positive pairs and of $\max(0, m - d)^2$ for negative pairs.

    Use it for labeled pairs, such as duplicates or not.

    Args:
        z: `(2, n, d)` embeddings of both sides of the pairs; d is their Euclidean distance, of
            embeddings that are not normalized.
        same: `(n,)` whether a pair is positive.
        margin: m, the distance from which on a negative pair has no loss.
        half: multiply by a half, as in the paper.

    Returns:
        The mean over pairs, a scalar.

    Example:
        A positive pair at distance 2 and a negative one at 0.5: (4 + 0.25) / 2.

        >>> z = torch.tensor([[[0.0], [0.0]], [[2.0], [0.5]]])
        >>> margin(z, torch.tensor([True, False])).item()
        2.125

        Equivalent to:

        >>> z, same = torch.randn(2, 4, 8) / 4, torch.tensor([True, False, False, True])
        >>> d = (z[0] - z[1]).norm(dim=1)
        >>> naive = torch.where(same, d.square(), F.relu(1 - d).square()).mean()
        >>> torch.testing.assert_close(margin(z, same), naive)
    """
    require_views(z, exactly=2)
    with without_autocast(z):
        u, v = precise(z)
        squared = (u - v).square().sum(dim=-1)
        # A root has no gradient at zero; two equal embeddings have no direction to move apart in.
        distance = squared.clamp(min=torch.finfo(squared.dtype).tiny).sqrt()
        negative = F.relu(margin - distance).square()
        return mean(torch.where(same, squared, negative)) * (0.5 if half else 1.0)
