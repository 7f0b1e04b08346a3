"""LeJEPA (Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544): no heuristics."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count
from cl.distributed import gather
from cl.losses.lejepa import lejepa
from cl.methods._base import Method
from cl.nets.heads import each_view, mlp


class LeJEPA(Method):
    """Every view's embedding predicts the mean of the full-size views', and all are Gaussian.

    That the embeddings have the distribution N(0, I) is tested along random directions, which are
    new in every step and the same on every process. Trained as by the authors' small example
    (rbalestr-lab/lejepa, MINIMAL.md: 256 images, after an epoch of warm-up); for large models they
    start the search at 5e-4.

    Args:
        encoder: see `Method`.
        loss: of `(v n d)` embeddings, directions and the number of full-size views.
        directions: number of random directions (1024 in the paper)
        hidden_mlp: width of the projector's two hidden layers (2048 in the authors' code)
        encoding_size: dimensions of the embedding (16 in the authors' small example)
        base: what `Method` takes.
    """

    defaults: ClassVar = {
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 0.05,
        "warmup_start_lr": 0.0,
    }

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = lejepa,
        *,
        directions: Count = 1024,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 64,
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, **base)
        self.projector = self.build_projector(hidden_mlp, encoding_size)
        self.directions = directions

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, hidden_mlp, encoding_size)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, _ = gather(each_view(self.projector, h))
        shape, generator = (self.directions, z.shape[2]), self.generator(z.device)
        directions = torch.randn(shape, generator=generator, device=z.device)
        return self.loss(z, directions, self.global_views)
