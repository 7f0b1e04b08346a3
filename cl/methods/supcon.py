"""SupCon (Khosla et al. 2020, https://arxiv.org/abs/2004.11362): positives by class."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from cl.methods.simclr import SimCLR


class SupCon(SimCLR):
    """SimCLR with the samples of a class as positives; with NT-Xent it is the paper's eq. 2."""

    def __init__(self, encoder: nn.Module, loss: Callable[..., Tensor], **simclr: Any) -> None:
        super().__init__(encoder, loss, supervised=True, **simclr)
