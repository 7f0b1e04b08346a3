"""Pairs with a margin (Hadsell et al. 2006), the first contrastive loss."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cl.losses.margin import margin
from cl.methods._pairs import PairMethod


class Margin(PairMethod):
    """Views of a sample are pulled together, other samples are pushed a margin apart.

    Pairs of both kinds have the same weight: a positive counts as often as it has negatives.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` pairs and which of them belong together.
        base: what `PairMethod` takes.
    """

    def __init__(
        self, encoder: nn.Module, loss: Callable[..., Tensor] = margin, **base: Any
    ) -> None:
        super().__init__(encoder, loss, **base)

    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        a, p, n = (x.flatten(0, 1) for x in (a[:, None].expand_as(n), p[:, None].expand_as(n), n))
        same = torch.arange(2 * len(n), device=n.device) < len(n)
        return self.loss(torch.stack([torch.cat([a, a]), torch.cat([p, n])]), same)
