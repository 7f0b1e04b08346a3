"""What AnglE and CoSENT share: pairs that are more alike should have the larger similarity."""

import torch
from jaxtyping import Float
from torch import Tensor


def ranked(
    similarity: Float[Tensor, " n"], scores: Float[Tensor, " n"], scale: float
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (a_i - a_j)})$ of n pairs, in $O(n \log n)$.

    Sorted by score, the sum over all lower pairs is one running log-sum-exp: no n x n matrix.

    Args:
        similarity: $a_i$ of each pair.
        scores: $y_i$, how alike its two are; only their order counts.
        scale: the inverse temperature.
    """
    y, order = scores.sort()
    x = similarity[order] * scale
    lower = torch.searchsorted(y, y)  # how many pairs have a lower score
    below = torch.logcumsumexp(x, dim=0)[(lower - 1).clamp(min=0)]
    # A mask and no index: which pairs have a lower one is not read back from a GPU.
    each = (below - x).masked_fill(lower == 0, -torch.inf)
    return torch.cat([x.new_zeros(1), each]).logsumexp(dim=0)
