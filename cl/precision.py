"""Statistics are in float32, whatever the embeddings come in; float64 stays float64."""

import torch
from jaxtyping import Float
from torch import Tensor


def precise(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The same numbers in float32 at least."""
    return z if z.dtype == torch.float64 else z.float()
