"""AnglE (Li and Li 2023, https://arxiv.org/abs/2309.12871) of samples: rank pairs by an angle."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from cl.losses.angle import angle
from cl.methods.cosent import CoSENT


class Angle(CoSENT):
    """CoSENT with the angle of complex embeddings in place of the cosine.

    Trained by AdamW, as its authors do; theirs is a rate for fine-tuning BERT, this one is ours.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` pairs and their scores, as `CoSENT` has them.
        base: what `CoSENT` takes.
    """

    defaults: ClassVar = {"optimizer": "adamw", "lr": 1e-3}

    def __init__(
        self, encoder: nn.Module, loss: Callable[..., Tensor] = angle, **base: Any
    ) -> None:
        super().__init__(encoder, loss, **base)
