"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230): decorrelate."""

from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.distributed import gather
from cl.losses._views import over_pairs
from cl.losses.barlow_twins import barlow_twins
from cl.methods.base import Method
from cl.nets.heads import mlp, view_by_view


class BarlowTwins(Method):
    """Two views' embeddings correlate dimension by dimension, and no dimension with another.

    More views: the mean over all pairs with a full-size one.

    Args:
        encoder: see `Method`.
        hidden: width of the projector's two hidden layers (8192 in the paper).
        dim: of the embeddings (8192 in the paper).
        lamb: weight of the off-diagonal terms (0.0051 in the paper's code).
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 2048,
        lamb: float = 5e-3,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        self.projector = mlp(self.probe.linear.in_features, hidden, hidden, dim, last_bias=False)
        self.lamb = lamb

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(view_by_view(self.projector, h))
        loss = partial(barlow_twins, lamb=self.lamb)
        return over_pairs(loss, z, rows=rows, global_views=self.global_views)
