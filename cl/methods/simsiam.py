"""SimSiam (Chen and He 2020, https://arxiv.org/abs/2011.10566): no negatives, a stop-gradient."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.losses._views import across
from cl.losses.cosine import cosine
from cl.methods.base import Method
from cl.nets.heads import mlp, view_by_view


class SimSiam(Method):
    """Predict one view's embedding from the other's; the target side stands still.

    More views: every view predicts each other full-size one.

    Args:
        encoder: see `Method`.
        hidden: width of the projector's hidden layers (2048, as all three in the paper).
        dim: of the embeddings (2048 in the paper).
        pred_hidden: width of the predictor's bottleneck (512, a quarter of `dim`, in the paper).
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden: int = 2048,
        dim: int = 2048,
        pred_hidden: int = 512,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        self.projector = mlp(self.probe.linear.in_features, hidden, hidden, dim, last_norm=True)
        self.predictor = mlp(dim, pred_hidden, dim)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z = view_by_view(self.projector, h)
        p = view_by_view(self.predictor, z)
        return torch.stack(
            [cosine(p[[v]], z.detach()[[w]]) for v, w in across(len(z), self.global_views)]
        ).mean()
