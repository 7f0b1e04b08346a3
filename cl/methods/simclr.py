"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709): a projector, and any pairwise loss.

With labels it is supervised contrastive learning (Khosla et al. 2020,
https://arxiv.org/abs/2004.11362); with another loss it is DCL, DHEL and their kin.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, Learn, Width
from cl.distributed import gather
from cl.losses import PairwiseLoss
from cl.losses.nt_xent import nt_xent
from cl.methods._base import Method, learnable_scalars
from cl.nets.heads import each_view


class SimCLR(Method):
    """Pull the views of a sample together, push what the loss pushes.

    Args:
        encoder: see `Method`.
        loss: of `(v n d)` embeddings, ids and rows; NT-Xent is the paper's.
        hidden_mlp: width of the projector's hidden layer (2048 as in the paper's ResNet-50); 0 is
            no projector, the default for texts
        encoding_size: dimensions of the embedding (128, the paper's B.9)
        supervised: samples of one class are positives, which makes simclr supcon; texts of one
            document always are, unless it is --no-supervised
        learn: scalars of the loss that are learned, from their given values on
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: PairwiseLoss = nt_xent,
        *,
        hidden_mlp: Width = 2048,
        encoding_size: Count = 128,
        supervised: bool = False,
        learn: Learn = "nothing",
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, learnable=learnable_scalars(loss, learn), **base)
        self.projector = (
            self.build_projector(hidden_mlp, encoding_size) if hidden_mlp else nn.Identity()
        )
        self.supervised = supervised

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(each_view(self.projector, h))
        ids = class_ids(labels) if self.supervised else None
        return self.loss(z, ids, rows)


def class_ids(labels: Int[Tensor, " n"]) -> Int[Tensor, " b"]:
    """Ids of the samples of all processes: the class, or its own number where there is none."""
    gathered, _ = gather(rearrange(labels, "n -> 1 n 1"))
    ids = gathered.flatten()
    return torch.where(ids < 0, -1 - torch.arange(len(ids), device=ids.device), ids)
