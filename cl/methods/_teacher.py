"""Against a momentum encoder, the teacher: what ReLIC and the modulated sigmoid loss share."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, FromPython, Learn, Share, Steps
from cl.distributed import gather
from cl.methods._base import Method, learned_scalars
from cl.nets.ema import Ema
from cl.nets.heads import mlp, view_by_view
from cl.schedules import Schedule


class Teacher(Method):
    """Every view meets what an average of past encoders, the teacher, makes of the other views.

    Args:
        encoder: see `Method`.
        loss: of `(z, ids, rows, target)`.
        hidden_mlp: width of the projector's hidden layer (512 in the code of the sigmoid loss)
        encoding_size: dimensions of the embedding (64 in the code of the sigmoid loss)
        learn: scalars of the loss that learn, from their given values on
        ema_beta: the share of the teacher that a step keeps; rises to 1 by half a cosine
        ema_after_step: until this step the teacher is a copy
        ema_every_n_steps: steps between two moves of the teacher
        features: whose features are probed, saved and evaluated: the target's (the teacher's) or
            the online encoder's
        ema_encoder: see `Method`; no flag, since the teacher is such an average already.
        schedules: further numbers that change while training.
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor],
        *,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 64,
        learn: Learn = "nothing",
        ema_beta: Share = 0.99,
        ema_after_step: Steps = 0,
        ema_every_n_steps: Count = 1,
        features: Literal["target", "online"] = "target",
        ema_encoder: FromPython[float | None] = None,
        schedules: Mapping[str, Schedule] | None = None,
        **base: Any,
    ) -> None:
        rise = Schedule(start=ema_beta, end=1.0, after=ema_after_step)
        super().__init__(
            encoder,
            schedules={"ema_beta": rise, **(schedules or {})},
            learned=learned_scalars(loss, learn),
            ema_encoder=ema_encoder,
            **base,
        )
        self.projector = mlp(self.width, hidden_mlp, encoding_size, last_bias=False)
        self.target = Ema(self.encoder, self.projector)
        self.loss = loss
        self.of_target = features == "target"
        self.ema_after_step, self.ema_every_n_steps = ema_after_step, ema_every_n_steps
        self.targets: tuple[Tensor, Tensor] | None = None  # the teacher's features and embeddings

    def embed(self, views: list[Tensor]) -> Float[Tensor, "v n d"]:
        encoder, projector = self.target.module
        with torch.no_grad():
            h = self.through(encoder, views[0])
            self.targets = h, view_by_view(projector, h)
        return super().embed(views)

    def options(self) -> dict[str, Any]:
        """What the loss is given at this step."""
        return dict(self.learned.values())

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        assert self.targets is not None
        z, rows = gather(view_by_view(self.projector, h))
        target, _ = gather(self.targets[1])
        return self.loss(z, None, rows, target, **self.options())

    def probe_features(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "g n d"]:
        assert self.targets is not None
        return self.targets[0] if self.of_target else super().probe_features(h)

    def after_step(self, step: int) -> None:
        if step <= self.ema_after_step:
            self.target.follow(0.0, self.encoder, self.projector)
        elif step % self.ema_every_n_steps == 0:
            self.target.follow(self.now("ema_beta"), self.encoder, self.projector)

    @property
    def eval_encoder(self) -> nn.Module:
        return self.target.module[0] if self.of_target else self.encoder
