"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230): decorrelate."""

from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count
from cl.distributed import gather
from cl.losses._views import mean_over_view_pairs
from cl.losses.barlow_twins import barlow_twins
from cl.methods._base import Method
from cl.nets.heads import mlp, view_by_view


class BarlowTwins(Method):
    """Two views' embeddings correlate dimension by dimension, and no dimension with another.

    More views: the mean over all pairs with a full-size one. Trained as in the paper; the authors'
    code decays weights by 1e-6.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` embeddings, ids and rows.
        hidden_mlp: width of the projector's two hidden layers (8192 in the paper)
        encoding_size: dimensions of the embedding (8192 in the paper)
        base: what `Method` takes.
    """

    defaults: ClassVar = {
        "optimizer": "lars",
        "lr": 0.2,
        "bias_lr": 0.0048,
        "weight_decay": 1.5e-6,
        "warmup_start_lr": 0.0,
    }

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = barlow_twins,
        *,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 2048,
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, **base)
        self.projector = self.build_projector(hidden_mlp, encoding_size)

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, hidden_mlp, encoding_size, last_bias=False)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(view_by_view(self.projector, h))
        return mean_over_view_pairs(self.loss, z, rows=rows, global_views=self.global_views)
