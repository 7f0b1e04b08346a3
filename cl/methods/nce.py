"""Noise-contrastive estimation of pairs (Gutmann and Hyvarinen 2012, JMLR 13)."""

from collections.abc import Callable
from typing import Any

from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from cl.bounds import Positive
from cl.losses._defined import require_positive
from cl.losses.nce import nce
from cl.methods._pairs import PairMethod
from cl.precision import without_autocast


class NCE(PairMethod):
    """Tell two views of a sample (the data) from views of two samples (the noise).

    Args:
        encoder: see `Method`.
        loss: of the logits of the data and of the noise, which are cosines over the temperature.
        temperature: what similarities are divided by
        base: what `PairMethod` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = nce,
        *,
        temperature: Positive = 0.1,
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, **base)
        self.temperature = temperature

    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        require_positive(temperature=self.temperature)
        with without_autocast(a):
            data, noise = (a * p).sum(dim=1), einsum(a, n, "r d, r k d -> r k").flatten()
            return self.loss(data / self.temperature, noise / self.temperature)
