"""AnglE (Li and Li 2023, https://arxiv.org/abs/2309.12871, eq. 6): rank pairs by an angle.

The order of the differences is the authors' code's; the published equation has it reversed.
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import require_views
from cl.losses.cosent import ranking_loss
from cl.precision import unit, without_autocast


def angle(
    z: Float[Tensor, "2 n d"],
    scores: Float[Tensor, " n"],
    *,
    scale: Positive = 20.0,  # sentence-transformers'; the paper's temperature of 1 is scale 1
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (a_i - a_j)})$, a from the complex quotient of a pair.

    The halves of an embedding are the real and imaginary parts of a complex vector, and
    $a = |\sum \mathrm{Re}(u \bar v) + \sum \mathrm{Im}(u \bar v)|$ of unit vectors. Use it for
    graded sentence similarity, as `cosent`: the angle has a gradient where the cosine saturates.

    Args:
        z: `(2, n, d)` embeddings of both sides of the pairs of all processes, of any length; an
            odd d is padded with a zero.
        scores: `(n,)` labels $y_i$ of how similar the two sides are; only their order counts.
        scale: the inverse temperature.

    Returns:
        The loss of the whole batch, a scalar.

    Example:
        Two pairs, u = 1 in both, v = 1 in the similar one and 0.6 + 0.8i in the other: a is 1 and
        |0.6 - 0.8| = 0.2, scale 1: log(1 + e^{0.2 - 1}).

        >>> import torch
        >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]]])
        >>> round(angle(z, torch.tensor([1.0, 0.0]), scale=1.0).item(), 4)
        0.3711

        Equivalent to:

        >>> z, y = F.normalize(torch.randn(2, 4, 8), dim=-1), torch.tensor([0.0, 2.0, 1.0, 1.0])
        >>> u, v = torch.complex(*z.chunk(2, dim=-1))
        >>> a = torch.view_as_real((u * v.conj()).sum(1)).sum(1).abs()
        >>> differences = 20 * (a[:, None] - a)[y[:, None] < y]
        >>> torch.testing.assert_close(angle(z, y), F.softplus(differences.logsumexp(0)))
    """
    require_views(z, exactly=2)
    with without_autocast(z):
        z = F.pad(unit(z), (0, z.shape[-1] % 2))
        (a, b), (c, d) = rearrange(z, "s n (part d) -> s part n d", part=2)
        real, imaginary = a * c + b * d, b * c - a * d
        return ranking_loss((real + imaginary).sum(dim=-1).abs(), scores, scale)
