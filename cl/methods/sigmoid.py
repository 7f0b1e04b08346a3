"""Basara's sigmoid contrastive learning: SigLIP's loss against a teacher, modulated by confidence.

The loss is Zhai et al. 2023 (https://arxiv.org/abs/2303.15343) with a confidence penalty.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from cl.bounds import Count, Learn, Steps
from cl.losses.sigmoid import sigmoid
from cl.methods._base import option_of
from cl.methods._teacher import Teacher
from cl.schedules import Schedule


class Sigmoid(Teacher):
    """Every pair of a view and the teacher's embedding of another view is a question of its own.

    Args:
        encoder: see `Method`.
        loss: of `(z, ids, rows, target)`; its `gamma` and `threshold` are those of the schedule.
        learn: scalars of the loss that learn, from their given values on
        gamma_steps: steps in which --gamma falls to 0 by half a cosine; None: it is constant
        threshold_after_step: the step from which --threshold holds
        teacher: what `Teacher` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = sigmoid,
        *,
        learn: Learn = "both",
        gamma_steps: Count | None = None,
        threshold_after_step: Steps = 5000,
        **teacher: Any,
    ) -> None:
        fall = {}
        if gamma_steps:
            gamma = option_of(loss, "gamma")
            fall["gamma"] = Schedule(start=gamma, end=0.0, steps=gamma_steps)
        super().__init__(encoder, loss, learn=learn, schedules=fall, **teacher)
        self.threshold = option_of(loss, "threshold")
        self.threshold_after_step = threshold_after_step

    def options(self) -> dict[str, Any]:
        found = super().options()
        if "gamma" in self.schedules:
            found["gamma"] = self.now("gamma")
        if self.threshold is not None and self.step < self.threshold_after_step:
            found["threshold"] = None
        return found
