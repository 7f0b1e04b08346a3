"""CoSENT (Su 2022, https://kexue.fm/archives/8847) of images: rank pairs by their cosine."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from cl.losses.cosent import cosent
from cl.methods._pairs import PairMethod, scored_pairs


class CoSENT(PairMethod):
    """Any two views of a sample are more alike than any two samples of the batch.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` pairs and their scores: 1 for two views of a sample, else 0.
        base: what `PairMethod` takes.
    """

    whole_batch = True

    def __init__(
        self, encoder: nn.Module, loss: Callable[..., Tensor] = cosent, **base: Any
    ) -> None:
        super().__init__(encoder, loss, **base)

    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        return self.loss(*scored_pairs(a, p, n))
