"""Triplets (Schroff et al. 2015, FaceNet, https://arxiv.org/abs/1503.03832)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cl.bounds import Mining
from cl.losses.triplet import triplet
from cl.methods._pairs import PairMethod


class Triplet(PairMethod):
    """An anchor is closer to another view of its sample than to another sample, by a margin.

    Args:
        encoder: see `Method`.
        loss: of `(3 n d)` anchors, positives and negatives.
        mining: see `PairMethod`; the paper's is semi_hard
        base: what `PairMethod` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = triplet,
        *,
        mining: Mining = "semi_hard",
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, mining=mining, **base)

    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        triplets = torch.stack([a[:, None].expand_as(n), p[:, None].expand_as(n), n])
        return self.loss(triplets.flatten(1, 2))
