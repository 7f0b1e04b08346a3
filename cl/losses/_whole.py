r"""A softmax loss of a small batch as one autograd function, normalization and mean included.

In the smallest batches most of the time is what autograd takes for each operation. The loss is a
scalar, so its gradient is known up to a factor and computed in the forward pass.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cl.autograd import Function
from cl.losses._direct import gradients, scaled_products, similarity_gradients, sum_exponentials
from cl.losses._function import Times, one_by_one
from cl.losses._layout import PairLayout
from cl.losses._pairs import Denominator, EmbeddingBlock, Pairs, take
from cl.precision import Unit

Places = tuple[tuple[range, range], tuple[range, range]]  # views and samples, of both sides
LINEAR = 50.0  # from here on log(1 + e^x) is x, in float64 too


class WholeLoss(Function):
    """A loss of embeddings of any length and of a scale, with its gradients as further outputs.

    The backward pass needs nothing else. A scale that is a number has no gradient.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        known = output[1:]
        ctx.save_for_backward(*inputs[: len(known)], *known)
        ctx.mark_non_differentiable(*known)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        found = (
            () if grad_outputs[0] is None else Times.compute(grad_outputs[0], *ctx.saved_tensors)
        )
        return *found, *[None] * (len(ctx.needs_input_grad) - len(found))

    @classmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]  # torch calls it on the class
        cls, info: Any, in_dims: tuple[Any, ...], *inputs: Any
    ) -> tuple[Any, Any]:
        return one_by_one(cls, info, in_dims, *inputs)


class SoftmaxLoss(WholeLoss):
    """The mean over anchors of a softmax loss with one positive each."""

    @staticmethod
    def forward(
        z: Tensor, scale: Tensor | float, layout: PairLayout, with_positive: bool, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        lse, positive, exponentials, sums = sum_exponentials(q, k, scale, layout)
        positive = positive.view(-1, positive.shape[-1])
        rest = lse.view(-1, positive.shape[-1]) - positive  # accurate near zero, too
        value = (F.softplus(rest, 1, LINEAR) if with_positive else rest).mean()
        if not keep:
            return (value,)
        g = (rest.sigmoid() if with_positive else torch.ones_like(rest)) * (scale / rest.numel())
        of_positive = -g if len(g) == len(positive) else -g.sum(dim=0)
        p = similarity_gradients(g.view(sums.shape) / sums, exponentials, layout)
        dq, dk, dscale = gradients(p, of_positive, layout, isinstance(scale, Tensor), q, k, scale)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale)


class EnergyLoss(WholeLoss):
    """The mean of a weighted log-sum-exp within each view minus the mean of several positives.

    All views are anchors; the positives are the sample's other views.
    """

    @staticmethod
    def forward(
        z: Tensor, scale: Tensor | float, layout: PairLayout, weight: float, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        lse, _, exponentials, sums = sum_exponentials(q, k, scale, layout)
        # every pair of views counts twice, as either is an anchor
        others = (q.sum(dim=0) - q) * (1 / (len(q) - 1) / sums.numel())
        cosine = (q * others).sum()
        value = lse.mean() * weight - cosine * scale
        if not keep:
            return (value,)
        p = similarity_gradients(scale * (weight / sums.numel()) / sums, exponentials, layout)
        dq, dk, dscale = gradients(p, None, layout, isinstance(scale, Tensor), q, k, scale)
        dq = dq.sub_(others * (2 * scale))
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale - cosine)


class MaskedLoss(WholeLoss):
    """The mean over anchors of a weighted log-sum-exp minus the mean similarity to positives.

    Of samples with classes, or with several positives: which pairs count is a mask over all of
    them. A positive that is alone is left out of its sum, so that the loss is accurate near zero.
    """

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        classes: Tensor | None,
        places: Places,
        denominator: Denominator,
        weight: float,
        subtract_max: bool,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        is_alone, unique = places[0] == places[1], classes is None
        q = take(u, places[0]).flatten(0, 1)
        k = q if is_alone else take(u, places[1]).flatten(0, 1)
        classes = torch.arange(z.shape[1], device=z.device) if classes is None else classes
        anchors = candidates = EmbeddingBlock(slice(0, 0), *places[0], classes, unique)
        if not is_alone:
            candidates = EmbeddingBlock(slice(0, 0), *places[1], classes, unique)
        excluded, share, single, alone = chosen_pairs(Pairs(anchors, candidates), denominator, q)
        x = scaled_products(q, k, scale)
        mean = (x * share).sum(dim=1)
        x.masked_fill_(excluded, -torch.inf)
        row_max = x.amax(dim=1) if subtract_max else None
        if row_max is not None:
            row_max.masked_fill_(row_max == -torch.inf, 0.0)
            x.sub_(row_max.unsqueeze(1))
        sums = x.exp_().sum(dim=1)
        log = sums.log() if row_max is None else sums.log() + row_max
        rest, empty = log * weight - mean, sums == 0
        losses = torch.where(empty, -mean, rest) if may_be(empty) else rest
        slope = torch.full_like(rest, 1 / len(q))
        if single is not None:
            losses = torch.where(single, F.softplus(rest, 1, LINEAR), losses)
            slope = torch.where(single, rest.sigmoid() * slope, slope)
        if alone is not None:
            losses, slope = losses.masked_fill(alone, 0.0), slope.masked_fill(alone, 0.0)
        value = losses.mean()
        if not keep:
            return (value,)
        each = (slope * weight / sums).masked_fill(empty, 0.0)
        p = x.mul_(each.unsqueeze(1)).sub_(share.mul_(slope.unsqueeze(1)))
        p = p + p.mT if is_alone else p
        dq = p @ k
        dscale = (dq * q).sum() / (2 if is_alone else 1) if isinstance(scale, Tensor) else None
        du = put_back(dq, None if is_alone else p.mT @ q, places, u)
        dz = Unit.pull(du.mul_(scale), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale)


def chosen_pairs(
    pairs: Pairs, denominator: Denominator, like: Tensor
) -> tuple[Bool[Tensor, "a c"], Float[Tensor, "a c"], Tensor | None, Tensor | None]:
    """Which pairs are not summed, the share of each positive, and two kinds of anchors.

    The first kind has one positive, which is left out of its sum, the second has none; None: on a
    CPU there is no such anchor.

    Args:
        pairs: all of them.
        denominator: which of them it has.
        like: a tensor of the dtype and device wanted.
    """
    of_both = [len(of.views) * len(of.samples) for of in (pairs.anchors, pairs.candidates)]
    positive = (pairs.same_id & ~pairs.same_embedding).tensor(like).expand(of_both)
    excluded = (~denominator(pairs)).tensor(like).expand(of_both)
    share = positive.to(like.dtype)
    count = share.sum(dim=1)
    alone, single = count == 0, count == 1
    share = share.div_(count.clamp_(min=1).unsqueeze(1))
    if not (denominator.positives and may_be(single)):
        return excluded, share, None, alone if may_be(alone) else None
    if denominator.views != "all":  # a positive may be of another view than those that are summed
        positive = positive & ~excluded
        single &= positive.any(dim=1)
    excluded = excluded | (positive & single.unsqueeze(1))
    return excluded, share, single, alone if may_be(alone) else None


def put_back(
    dq: Tensor, dk: Tensor | None, places: Places, like: Float[Tensor, "v n d"]
) -> Float[Tensor, "v n d"]:
    """The gradient of all embeddings, from those of anchors and of candidates that are others."""
    if dk is None and dq.numel() == like.numel():
        return dq.view_as(like)
    dz = torch.zeros_like(like)
    for dx, place in zip((dq, dk), places, strict=True):
        if dx is not None:
            part = take(dz, place)
            part += dx.view_as(part)
    return dz


def may_be(x: Bool[Tensor, "..."]) -> bool:
    """Whether any is true; on a device that would have to be waited for, whether it could be."""
    return x.device.type != "cpu" or bool(x.any())
