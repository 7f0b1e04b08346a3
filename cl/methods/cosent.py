"""CoSENT (Su 2022, https://kexue.fm/archives/8847) of samples: rank pairs by their cosine."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.distributed import gather
from cl.losses.cosent import cosent
from cl.methods._pairs import PairMethod, scored_pairs
from cl.nets.heads import each_view


class CoSENT(PairMethod):
    """Any two views of a sample are more alike than any two samples of the batch.

    Of pairs of texts with scores (`scored:FILE`), the pairs of the batch are as alike as their
    scores rank them, and no others are made of it.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` pairs and their scores: those of the data, or 1 for two views of a
            sample, else 0.
        base: what `PairMethod` takes.
    """

    whole_batch = True
    graded = True

    def __init__(
        self, encoder: nn.Module, loss: Callable[..., Tensor] = cosent, **base: Any
    ) -> None:
        super().__init__(encoder, loss, **base)

    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        return self.loss(*scored_pairs(a, p, n))

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        if self.scores is None:
            return super().objective(h, labels)
        z, _ = gather(each_view(self.projector, h))
        scores, _ = gather(self.scores, dim=0)
        return self.loss(z, scores)
