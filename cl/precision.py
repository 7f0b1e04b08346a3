"""Precision of statistics: float32 for whatever comes in lower precision; float64 stays."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LARGE, SMALL = 2.0**55, 2.0**-30  # between them no square of float32 overflows or vanishes


def precise(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Upcast to float32; float64 stays float64.

    Args:
        z: a tensor of any shape and any floating dtype.

    Returns:
        The same numbers; the tensor itself if it has the precision already.
    """
    return z if z.dtype == torch.float64 else z.float()


def unit(z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Divide vectors by their length, in float32 at least.

    A vector of zeros has no direction: it stays zero, so that its cosines are 0, and gets no
    gradient. Very long and very short vectors are first scaled by a power of two, which rounds
    nothing.

    Args:
        z: vectors of any length.

    Returns:
        Vectors of length 1, or 0.

    >>> unit(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    z = precise(z)
    return F.normalize(z * safe_factor(z, dim=-1), dim=-1)


def length(z: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """The Euclidean length of vectors, without overflow; that of zeros has no gradient."""
    factor = safe_factor(z, dim=-1)
    return (z * factor).norm(dim=-1) / factor.squeeze(-1).where(factor.squeeze(-1) > 0, 1.0)


def safe_factor(z: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """The power of two by which no square of a vector's coordinates overflows or vanishes.

    Args:
        z: vectors along an axis.
        dim: that axis, of which one remains.

    Returns:
        1 for all but very long and very short vectors; 0 for those of zeros.
    """
    peak = z.detach().abs().amax(dim=dim, keepdim=True)
    factor = torch.where(peak > LARGE, 2.0**-80, torch.where(peak < SMALL, 2.0**80, 1.0))
    return factor.masked_fill(peak == 0, 0.0).to(z.dtype)
