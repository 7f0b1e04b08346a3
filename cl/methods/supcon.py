"""SupCon (Khosla et al. 2020, https://arxiv.org/abs/2004.11362): positives by class."""

from typing import Any

from torch import nn

from cl.bounds import Count, Width
from cl.losses import PairwiseLoss
from cl.losses.nt_xent import nt_xent
from cl.methods.simclr import SimCLR
from cl.nets.heads import mlp


class SupCon(SimCLR):
    """SimCLR with the samples of a class as positives; with NT-Xent it is the paper's eq. 2.

    NT-Xent's temperature is then that of ImageNet-100's recipes, 0.2; the paper's is 0.1, the
    default of the loss `supcon`. The projector has no BatchNorm, as in the authors' code.

    Args:
        encoder: see `SimCLR`, so the others.
        loss: see `SimCLR`.
        hidden_mlp: width of the projector's hidden layer (that of the features in the authors'
            code); 0 is no projector, the default for texts
        encoding_size: dimensions of the embedding (128 in the paper)
        supervised: samples of one class are positives
        simclr: what `SimCLR` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: PairwiseLoss = nt_xent,
        *,
        hidden_mlp: Width = 2048,
        encoding_size: Count = 128,
        supervised: bool = True,
        **simclr: Any,
    ) -> None:
        sizes = {"hidden_mlp": hidden_mlp, "encoding_size": encoding_size}
        super().__init__(encoder, loss, supervised=supervised, **sizes, **simclr)

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, encoding_size, norm=False)
