"""Against a target that moves slowly: ReLIC and the modulated sigmoid loss.

Mitrovic et al. 2021 (https://arxiv.org/abs/2010.07922), whose loss is `relic`; Basara's sigmoid
contrastive learning, whose loss is `sigmoid` with a confidence penalty.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.distributed import gather
from cl.methods.base import Method
from cl.nets.ema import Ema
from cl.nets.heads import mlp, view_by_view


class Target(Method):
    """Every view meets what an average of past encoders makes of the other full-size views.

    `schedules` has `ema_beta`, how much of the average stays at a step, and may have `gamma`, which
    the loss is given.

    Args:
        encoder: see `Method`.
        loss: `sigmoid` or `relic`, of `(z, ids, rows, target)`.
        hidden: width of the critic's hidden layer (512 in the code).
        dim: of the embeddings (64 in the code).
        features: whose are used: the target's, as in the code, or the online encoder's.
        after: until this step the target is a copy; from then on it follows.
        every: then it moves only at multiples of so many steps.
        threshold: of the loss, from the step `filter_after` on.
        filter_after: see `threshold`.
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor],
        *,
        hidden: int = 512,
        dim: int = 64,
        features: str = "target",
        after: int = 0,
        every: int = 1,
        threshold: float | None = None,
        filter_after: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        self.projector = mlp(self.probe.linear.in_features, hidden, dim, last_bias=False)
        self.target = Ema(self.encoder, self.projector)
        self.loss = loss
        self.of_target = features == "target"
        self.after, self.every = after, every
        self.threshold, self.filter_after = threshold, filter_after
        self.goal: tuple[Tensor, Tensor] | None = None  # the target's features and embeddings

    def embed(self, views: list[Tensor]) -> Float[Tensor, "v n d"]:
        encoder, projector = self.target.module
        with torch.no_grad():
            h = self.through(encoder, views[0])
            self.goal = h, view_by_view(projector, h)
        return super().embed(views)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        assert self.goal is not None
        z, rows = gather(view_by_view(self.projector, h))
        target, _ = gather(self.goal[1])
        options: dict[str, Any] = dict(self.learned.values())
        if "gamma" in self.schedules:
            options["gamma"] = self.now("gamma")
        if self.threshold is not None and self.step >= self.filter_after:
            options["threshold"] = self.threshold
        return self.loss(z, None, rows, target, **options)

    def shown_to_probe(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "g n d"]:
        assert self.goal is not None
        return self.goal[0] if self.of_target else super().shown_to_probe(h)

    def after_step(self, step: int) -> None:
        if step <= self.after:
            self.target.follow(0.0, self.encoder, self.projector)
        elif step % self.every == 0:
            self.target.follow(self.now("ema_beta"), self.encoder, self.projector)

    @property
    def watched(self) -> nn.Module:
        return self.target.module[0] if self.of_target else self.encoder
