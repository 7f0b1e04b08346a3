"""AnglE (Li and Li 2023, https://arxiv.org/abs/2309.12871, eq. 6): rank pairs by an angle.

The order of the differences is the authors' code's; the published equation has it reversed.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from cl.losses._ranked import ranked
from cl.precision import precise


def angle(
    z: Float[Tensor, "2 n d"],
    scores: Float[Tensor, " n"],
    *,
    scale: float = 20.0,  # sentence-transformers'; the paper's temperature of 1 is scale 1
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (a_i - a_j)})$, a from the complex quotient of a pair.

    The halves of an embedding are the real and imaginary parts of a complex vector;
    $a = |\sum \mathrm{Re}(u \bar v) + \sum \mathrm{Im}(u \bar v)|$ of unit vectors. Where a cosine
    saturates, the angle still has a gradient.

    Args:
        z: both sides of the pairs of all processes; an odd d is padded with a zero.
        scores: how alike the two of a pair are; only the order counts.
        scale: the inverse temperature.

    Two pairs, u = 1 in both, v = 1 in the alike one and 0.6 + 0.8i in the other: a is 1 and
    |0.6 - 0.8| = 0.2, scale 1: log(1 + e^{0.2 - 1}).

    >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]]])
    >>> round(angle(z, torch.tensor([1.0, 0.0]), scale=1.0).item(), 4)
    0.3711
    """
    with torch.autocast(z.device.type, enabled=False):
        z = F.normalize(precise(z), dim=-1)
        z = F.pad(z, (0, z.shape[-1] % 2))
        (a, b), (c, d) = rearrange(z, "s n (part d) -> s part n d", part=2)
        real, imaginary = a * c + b * d, b * c - a * d
        return ranked((real + imaginary).sum(dim=-1).abs(), scores, scale)
