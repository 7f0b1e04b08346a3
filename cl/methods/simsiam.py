"""SimSiam (Chen and He 2020, https://arxiv.org/abs/2011.10566): no negatives, a stop-gradient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count
from cl.losses._views import view_target_pairs
from cl.losses.cosine import cosine
from cl.methods._base import Method
from cl.nets.heads import mlp, view_by_view
from cl.optim import Optimization


class SimSiam(Method):
    """Predict one view's embedding from the other's, which gets no gradient.

    More views: every view predicts each other full-size one. Trained by SGD at the rate of the
    authors' code (facebookresearch/simsiam), which has no warm-up.

    Args:
        encoder: see `Method`.
        loss: of predictions and the embeddings that they predict.
        hidden_mlp: width of the projector's hidden layers (2048, as all three in the paper)
        encoding_size: dimensions of the embedding (2048 in the paper)
        pred_hidden_mlp: width of the predictor's hidden layer (512 in the paper)
        no_lr_scheduler_for_pred_head: the predictor's learning rate stays constant
        optimization: see `Method`.
        base: what `Method` takes.
    """

    defaults: ClassVar = {"lr": 0.05, "scheduler": "cosine"}

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = cosine,
        *,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 2048,
        pred_hidden_mlp: Count = 512,
        no_lr_scheduler_for_pred_head: bool = False,
        optimization: Optimization | None = None,
        **base: Any,
    ) -> None:
        optimization = optimization or Optimization(**self.defaults)
        if no_lr_scheduler_for_pred_head:
            optimization = replace(optimization, constant=("predictor",))
        super().__init__(encoder, loss, optimization=optimization, **base)
        self.projector = self.build_projector(hidden_mlp, encoding_size)
        self.predictor = mlp(encoding_size, pred_hidden_mlp, encoding_size)

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, hidden_mlp, encoding_size, last_norm=True)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z = view_by_view(self.projector, h)
        p = view_by_view(self.predictor, z)
        pairs = view_target_pairs(len(z), self.global_views)
        return torch.stack([self.loss(p[v, None], z.detach()[w, None]) for v, w in pairs]).mean()
