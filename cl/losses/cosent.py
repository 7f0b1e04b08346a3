"""CoSENT (Su 2022, https://kexue.fm/archives/8847): rank pairs by their cosine."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import require_positive, require_views
from cl.losses._function import WholeLoss
from cl.losses._pairwise import is_one_function
from cl.precision import Unit, precise, unit, without_autocast

MAX_RANKED = 256  # pairs up to which a matrix of their differences is faster than sorting them
MAX_SCALE = 30.0  # of so many, exponentials of differences of two cosines do not overflow
# Of unit vectors of both sides: the similarity of each pair, and its derivatives by them.
Measure = Callable[[Tensor], tuple[Tensor, Tensor]]


def cosent(
    z: Float[Tensor, "2 n d"],
    scores: Float[Tensor, " n"],
    *,
    scale: Positive = 20.0,  # the author's
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (\cos_i - \cos_j)})$ over n pairs.

    Use it for graded sentence similarity: it optimizes the order of the pairs, not their values.

    Args:
        z: `(2, n, d)` embeddings of both sides of the pairs of all processes, of any length.
        scores: `(n,)` labels $y_i$ of how similar the two sides are; only their order counts.
        scale: the inverse temperature.

    Returns:
        The loss of the whole batch, a scalar.

    Example:
        Two pairs, the similar one at right angles, the other parallel, scale 1: log(1 + e).

        >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> round(cosent(z, torch.tensor([1.0, 0.0]), scale=1.0).item(), 4)
        1.3133

        Equivalent to:

        >>> z, y = torch.randn(2, 4, 8), torch.tensor([0.0, 2.0, 1.0, 1.0])
        >>> cos = F.cosine_similarity(*z)
        >>> differences = 20 * (cos[:, None] - cos)[y[:, None] < y]
        >>> torch.testing.assert_close(cosent(z, y), F.softplus(differences.logsumexp(0)))
    """
    return rank_pairs(z, scores, scale, cosines)


def cosines(u: Float[Tensor, "2 n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "2 n d"]]:
    """The cosine of each pair of unit vectors, and its derivatives by them."""
    return (u[0] * u[1]).sum(dim=-1), u.flip(0)


def rank_pairs(
    z: Float[Tensor, "2 n d"], scores: Float[Tensor, " n"], scale: float, measure: Measure
) -> Float[Tensor, ""]:
    """`ranking_loss` of the similarities that a measure finds.

    Args:
        z: embeddings of both sides, of any length.
        scores: see `ranking_loss`, like the scale.
        scale: see there.
        measure: at most the scale times 2 are the differences of what it finds.
    """
    require_views(z, exactly=2)
    require_positive(scale=scale)
    with without_autocast(z):
        if z.shape[1] <= MAX_RANKED and scale <= MAX_SCALE and is_one_function(z):
            return RankingLoss.of(precise(z), scores, scale, measure)
        return ranking_loss(measure(unit(z))[0], scores, scale)


class RankingLoss(WholeLoss):
    """`ranking_loss` of a few pairs, with the matrix of their differences."""

    @staticmethod
    def forward(
        z: Tensor, scores: Tensor, scale: float, measure: Measure, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        similarity, derivative = measure(u)
        x = (similarity.unsqueeze(1) - similarity).mul_(scale).exp_()
        x.mul_(scores.unsqueeze(1) < scores)
        total = x.sum()
        if not keep:
            return (total.log1p(),)
        slope = (x.sum(dim=1) - x.sum(dim=0)).mul_(scale / (1 + total))
        return total.log1p(), Unit.pull(derivative * slope.unsqueeze(1), u, lengths)


def ranking_loss(
    similarity: Float[Tensor, " n"], scores: Float[Tensor, " n"], scale: float
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (a_i - a_j)})$ of n pairs, in $O(n \log n)$.

    Sorted by score, the sum over all pairs of lower score is one running log-sum-exp: there is no
    n x n matrix.

    Args:
        similarity: `(n,)` $a_i$ of each pair.
        scores: `(n,)` $y_i$ of each pair.
        scale: the inverse temperature.

    Returns:
        The loss, a scalar.
    """
    require_positive(scale=scale)
    y, order = scores.sort()
    x = similarity[order] * scale
    lower = torch.searchsorted(y, y)  # how many pairs have a lower score
    lse_lower = torch.logcumsumexp(x, dim=0)[(lower - 1).clamp(min=0)]
    # A mask and not an index: which pairs have a lower one is not read back from a GPU.
    each = (lse_lower - x).masked_fill(lower == 0, -torch.inf)
    return -F.logsigmoid(-each.logsumexp(dim=0))
