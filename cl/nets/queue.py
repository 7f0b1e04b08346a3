"""A queue of embeddings that outlives the batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Queue(nn.Module):
    """The newest embeddings of length 1; it is saved with the run. At first they are random.

    Args:
        size: number of embeddings.
        dim: their dimensions.

    >>> queue = Queue(3, 2)
    >>> queue.push(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    >>> queue.embeddings[:2].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))  # its place
        self.embeddings: Tensor
        self.oldest: Tensor

    @torch.no_grad()
    def push(self, z: Float[Tensor, "n d"]) -> None:
        """Put embeddings, the same ones on every process, in place of the oldest."""
        size = len(self.embeddings)
        z = F.normalize(z[-size:].to(self.embeddings.dtype), dim=1)
        places = (self.oldest + torch.arange(len(z), device=z.device)) % size
        self.embeddings.index_copy_(0, places, z)
        self.oldest.add_(len(z)).remainder_(size)
