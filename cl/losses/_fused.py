"""A softmax loss on a card as one autograd function of a few kernels, with ids and of any size."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._function import WholeLoss
from cl.losses._pairs import Denominator, take
from cl.losses._whole import Places, put_back
from cl.precision import Unit, has_kernels, precise

WIDEST = 256  # dimensions of embeddings that a tile holds
FEW = 2**22  # pairs up to which the kernels are faster than a product that is kept


def is_fused(z: Float[Tensor, "v n d"]) -> bool:
    """Whether the kernels take these embeddings, which become float32."""
    if not z.is_cuda or z.dtype == torch.float64 or z.shape[-1] > WIDEST:
        return False
    if not has_kernels(precise(z)):
        return False
    from cl import kernels

    return kernels.take_pairs(z)


class FusedLoss(WholeLoss):
    """The mean over anchors of a weighted log-sum-exp minus the mean similarity to positives."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        classes: Tensor | None,
        places: Places,
        denominator: Denominator,
        weight: float,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        from cl import kernels

        u, lengths = Unit.forward(z)
        # The kernels read rows one behind the other; one sample of several views is a strided view.
        q, k = (take(u, place).flatten(0, 1).contiguous() for place in places)
        given = q, k, scale, classes, weight, places, denominator.views, denominator.positives
        losses, *found = kernels.log_sums(*given)
        if not keep:
            return (losses.mean(),)
        dq, dk = kernels.pair_gradients(*given, cast("tuple[Tensor, Tensor, Tensor]", tuple(found)))
        factor = scale / len(q)
        du = put_back(dq, dk, places, u)
        known = losses.mean(), Unit.pull(du, u, lengths).mul_(factor)
        if not isinstance(scale, Tensor):
            return known
        each = len(q) * (2 if dk is None else 1)  # of one gradient, a similarity is in two rows
        return *known, (dq * q).sum() / each


def fused_loss(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    scale: float | Float[Tensor, ""],
    places: Places,
    denominator: Denominator,
    weight: float,
) -> Float[Tensor, ""]:
    """The loss of `softmax_loss` by kernels, where `is_fused`.

    Args:
        z: embeddings of any length.
        ids: samples with equal ids are positives; None: each sample is its own class.
        scale: the inverse temperature.
        places: views and samples of the anchors and of the candidates.
        denominator: which pairs it has.
        weight: of the log-sum-exp.
    """
    ids = None if ids is None else ids.contiguous()
    return FusedLoss.of(precise(z), scale, ids, places, denominator, weight)
