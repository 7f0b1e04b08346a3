"""Precision of statistics: float32 for whatever comes in lower precision; float64 stays."""

import torch
from jaxtyping import Float
from torch import Tensor


def precise(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Upcast to float32; float64 stays float64.

    Args:
        z: a tensor of any shape and any floating dtype.

    Returns:
        The same numbers; the tensor itself if it has the precision already.
    """
    return z if z.dtype == torch.float64 else z.float()
