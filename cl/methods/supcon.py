"""SupCon (Khosla et al. 2020, https://arxiv.org/abs/2004.11362): samples of one class are positives."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from cl.methods.simclr import SimCLR


class SupCon(SimCLR):
    """SimCLR whose positives are the samples of the same class; NT-Xent then is the paper's eq. 2."""

    def __init__(self, encoder: nn.Module, loss: Callable[..., Tensor], **simclr: Any) -> None:
        super().__init__(encoder, loss, supervised=True, **simclr)
