"""AnglE (Li and Li 2023, https://arxiv.org/abs/2309.12871, eq. 6): rank pairs by an angle.

The order of the differences is the authors' code's; the published equation has it reversed.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses.cosent import rank_pairs


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
    return rank_pairs(z, scores, scale, angles)


def angles(u: Float[Tensor, "2 n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "2 n d"]]:
    """The a of each pair of unit vectors, and its derivatives by them.

    With real and imaginary parts b and c of the one, e and f of the other, it is the absolute value
    of the sum of b e + c f + c e - b f.
    """
    (b, c), (e, f) = (x.chunk(2, dim=-1) for x in F.pad(u, (0, u.shape[-1] % 2)))
    by_one, by_other = torch.cat([e - f, e + f], dim=-1), torch.cat([b + c, c - b], dim=-1)
    by_one, by_other = (by[:, : u.shape[-1]] for by in (by_one, by_other))
    total = (u[0] * by_one).sum(dim=-1)
    return total.abs(), torch.stack([by_one, by_other]) * total.sign().unsqueeze(1)
