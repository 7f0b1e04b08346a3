"""What the methods with a teacher share: a momentum encoder whose embeddings are the targets."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, FromPython, Learn, Share, Steps
from cl.distributed import gather
from cl.methods._base import Method, learnable_scalars
from cl.nets.ema import Ema
from cl.nets.heads import each_view, mlp, view_by_view
from cl.schedules import Schedule


class TeacherMethod(Method):
    """Compare every view with what the teacher, a momentum encoder, makes of the other views.

    The teacher is an exponential moving average of the encoder and its projector and gets no
    gradient (He et al. 2020, https://arxiv.org/abs/1911.05722).

    Args:
        encoder: see `Method`.
        loss: of `(z, ids, rows, target)`.
        hidden_mlp: width of the projector's hidden layer (512 in the code of the sigmoid loss)
        encoding_size: dimensions of the embedding (64 in the code of the sigmoid loss)
        learn: scalars of the loss that are learned, from their given values on
        ema_beta: the part of the teacher that a step keeps; rises to 1 by half a cosine
        ema_after_step: until this step the teacher is a copy
        ema_every_n_steps: steps between two moves of the teacher
        features: whose features are probed, saved and evaluated: the target's (the teacher's) or
            the online encoder's
        ema_encoder: see `Method`; no flag, since the teacher is such an average already.
        schedules: see `Method`; that of `ema_beta` replaces its rise to 1.
        base: what `Method` takes.
    """

    targets: tuple[Tensor, Tensor]  # the teacher's features and embeddings of the batch
    final_ema_beta: float | None = 1.0  # where its schedule ends; None: it is constant

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
        schedules = {
            "ema_beta": Schedule(start=ema_beta, end=self.final_ema_beta),
            **(schedules or {}),
        }
        schedules["ema_beta"] = replace(schedules["ema_beta"], after=ema_after_step)
        super().__init__(
            encoder,
            loss,
            schedules=schedules,
            learnable=learnable_scalars(loss, learn),
            ema_encoder=ema_encoder,
            **base,
        )
        self.projector = self.build_projector(hidden_mlp, encoding_size)
        self.teacher = Ema(self.encoder, self.projector)
        self.teacher_is_evaluated = features == "target"
        self.ema_beta = ema_beta
        self.ema_after_step, self.ema_every_n_steps = ema_after_step, ema_every_n_steps

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, encoding_size, last_bias=False)

    def embed(self, views: list[Tensor]) -> Float[Tensor, "v n d"]:
        encoder, projector = self.teacher.module
        with torch.no_grad():
            more = (x[: self.global_views - len(views[0])] for x in views[1:2])  # a pair's document
            h = torch.cat([self.through(encoder, x) for x in (views[0], *more) if len(x)])
            self.targets = h, view_by_view(projector, h)
        return super().embed(views)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(view_by_view(self.projector, h))
        targets, _ = gather(self.targets[1])
        return self.loss(z, None, rows, targets)

    def probe_features(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "g n d"]:
        return self.targets[0] if self.teacher_is_evaluated else super().probe_features(h)

    def monitored(self, h: Float[Tensor, "g n d"]) -> Float[Tensor, "g n e"]:
        return each_view(self.teacher.module[1] if self.teacher_is_evaluated else self.projector, h)

    def after_step(self, step: int) -> None:
        if step <= self.ema_after_step:
            self.teacher.update(0.0, self.encoder, self.projector)
        elif step % self.ema_every_n_steps == 0:
            self.teacher.update(self.ema_beta, self.encoder, self.projector)

    @property
    def eval_encoder(self) -> nn.Module:
        return self.teacher.module[0] if self.teacher_is_evaluated else self.encoder
