"""ReLIC (Mitrovic et al. 2021, https://arxiv.org/abs/2010.07922): InfoNCE against a teacher."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from cl.losses.relic import relic
from cl.methods._teacher import TeacherMethod


class ReLIC(TeacherMethod):
    """Each view finds its sample among the teacher's embeddings, and all views rank them alike.

    It is trained as BYOL is for 300 epochs by BYOL's authors.

    Args:
        encoder: see `Method`.
        loss: of `(z, ids, rows, target)`.
        base: what `TeacherMethod` takes.
    """

    defaults: ClassVar = {
        "optimizer": "lars",
        "lr": 0.3,
        "weight_decay": 1e-6,
        "warmup_start_lr": 0.0,
    }

    def __init__(
        self, encoder: nn.Module, loss: Callable[..., Tensor] = relic, **base: Any
    ) -> None:
        super().__init__(encoder, loss, **base)
