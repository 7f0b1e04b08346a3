"""Basara's sigmoid contrastive learning: SigLIP's loss against a teacher, modulated by confidence.

The loss is Zhai et al. 2023 (https://arxiv.org/abs/2303.15343) with a confidence penalty.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from cl.bounds import Count, Learn, Steps
from cl.losses.sigmoid import sigmoid
from cl.methods._base import option_of
from cl.methods._teacher import TeacherMethod
from cl.schedules import Schedule

NEEDS = {"gamma_steps": "gamma", "threshold_after_step": "threshold"}


class Sigmoid(TeacherMethod):
    """Every pair of a view and the teacher's embedding of another view is a question of its own.

    Trained by AdamW at 1e-3: by SGD at 0.3 it stayed below the untrained encoder on digits.

    Args:
        encoder: see `Method`.
        loss: of `(z, ids, rows, target)`; its `gamma` and `threshold` change as said below.
        learn: scalars of the loss that are learned, from their given values on
        gamma_steps: steps in which --gamma falls to 0 by half a cosine; None: it is constant
        threshold_after_step: the step from which --threshold holds
        schedules: see `Method`.
        base: what `TeacherMethod` takes.
    """

    defaults: ClassVar = {"optimizer": "adamw", "lr": 1e-3}

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = sigmoid,
        *,
        learn: Learn = "both",
        gamma_steps: Count | None = None,
        threshold_after_step: Steps = 5000,
        schedules: Mapping[str, Schedule] | None = None,
        **base: Any,
    ) -> None:
        schedules = dict(schedules or {})
        if gamma_steps and "gamma" in schedules:
            raise ValueError("--gamma_steps cannot be used with --schedule gamma=...")
        if gamma_steps:
            start = option_of(loss, "gamma")
            schedules["gamma"] = Schedule(start=start, end=0.0, steps=gamma_steps)
        super().__init__(encoder, loss, learn=learn, schedules=schedules, **base)
        self.threshold = option_of(loss, "threshold")
        self.threshold_after_step = threshold_after_step

    def loss_options(self) -> dict[str, Any]:
        off = self.threshold is not None and self.step < self.threshold_after_step
        return super().loss_options() | ({"threshold": None} if off else {})
