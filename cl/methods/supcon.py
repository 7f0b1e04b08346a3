"""SupCon (Khosla et al. 2020, https://arxiv.org/abs/2004.11362): positives by class."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from cl.methods.simclr import SimCLR
from cl.nets.heads import mlp


class SupCon(SimCLR):
    """SimCLR with the samples of a class as positives; with NT-Xent it is the paper's eq. 2.

    Its projector has no BatchNorm, as in the authors' code.

    Args:
        encoder: see `SimCLR`, so the others.
        loss: see `SimCLR`.
        hidden: width of the projector's hidden layer (that of the features in the authors' code).
        dim: of the embeddings (128 in the paper).
        simclr: what `SimCLR` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor],
        *,
        hidden: int = 2048,
        dim: int = 128,
        **simclr: Any,
    ) -> None:
        super().__init__(encoder, loss, supervised=True, hidden=hidden, dim=dim, **simclr)
        self.projector = mlp(self.probe.linear.in_features, hidden, dim, norm=False)
