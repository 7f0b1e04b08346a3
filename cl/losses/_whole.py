r"""A softmax loss of a small batch as one autograd function, normalization and mean included.

In the smallest batches most of the time is what autograd takes for each operation. The loss is a
scalar, so its gradient is known up to a factor and computed in the forward pass.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from cl.losses._direct import gradients, scaled_products, similarity_gradients, sum_exponentials
from cl.losses._function import WholeLoss
from cl.losses._layout import PairLayout
from cl.losses._pairs import Denominator, EmbeddingBlock, Pairs, SelectPairs, take
from cl.precision import Unit

Places = tuple[tuple[range, range], tuple[range, range]]  # views and samples, of both sides
# Of unit vectors, each positive's similarity and the scale: what stands for the similarity in the
# loss, and its derivative by the similarity.
Adjust = Callable[[Tensor, Tensor, Tensor | float], tuple[Tensor, Tensor]]
# Of all pairs and a tensor of the dtype and device wanted: see `chosen_pairs`.
Choose = Callable[[Pairs, Tensor], tuple[Tensor, Tensor, Tensor | None, Tensor | None]]
BLOCK_PAIRS = 2**22  # of a block of anchors: 16 MB in float32
LINEAR = 50.0  # from here on log(1 + e^x) is x, in float64 too


class SoftmaxLoss(WholeLoss):
    """The mean over anchors of a softmax loss with one positive each."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        layout: PairLayout,
        with_positive: bool,
        adjust: Adjust | None,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        lse, positive, exponentials, sums = sum_exponentials(q, k, scale, layout)
        similarity = positive = positive.view(-1, positive.shape[-1])
        slope = None
        if adjust is not None:
            positive, slope = adjust(u, similarity, scale)
        rest = lse.view(-1, positive.shape[-1]) - positive  # accurate near zero, too
        value = (F.softplus(rest, 1, LINEAR) if with_positive else rest).mean()
        if not keep:
            return (value,)
        g = (rest.sigmoid() if with_positive else torch.ones_like(rest)).mul_(scale / rest.numel())
        of_positive = -g if slope is None else -g * slope
        of_positive = of_positive if len(g) == len(similarity) else of_positive.sum(dim=0)
        p = similarity_gradients(g.view(sums.shape) / sums, exponentials, layout)
        dq, dk, dscale = gradients(p, of_positive, layout, isinstance(scale, Tensor), q, k, scale)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        if dscale is None:
            return value, dz
        if slope is not None:  # what is not the similarity times its derivative
            dscale = dscale - (g * (positive - similarity * slope)).sum() / scale**2
        return value, dz, dscale


class RowwiseLoss(WholeLoss):
    """`SoftmaxLoss` of any number of anchors of one view, among all samples of another one.

    Each anchor's sum is of its own row. So the gradient of a block of anchors follows its sums at
    once, and no product is computed a second time. Memory is O(n d) plus a block.
    """

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        layout: PairLayout,
        with_positive: bool,
        adjust: Adjust | None,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        assert k is not None
        views, samples = layout.anchors
        similarity = positive = ((q * k[samples.start : samples.stop]).sum(dim=1) * scale)[None]
        slope = None
        if adjust is not None:
            positive, slope = adjust(u, similarity, scale)
        value, dq, dk = z.new_zeros(()), torch.empty_like(q), torch.zeros_like(k)
        dscale = torch.zeros_like(scale) if isinstance(scale, Tensor) else None
        block = max(1, BLOCK_PAIRS // max(1, len(k)))
        for rows in (slice(first, first + block) for first in range(0, len(q), block)):
            part = replace(layout, anchors=(views, samples[rows]))
            lse, _, exponentials, sums = sum_exponentials(q[rows], k, scale, part)
            rest = lse - positive[0, rows]
            value += (F.softplus(rest, 1, LINEAR) if with_positive else rest).sum()
            if not keep:
                continue
            g = (rest.sigmoid() if with_positive else torch.ones_like(rest)).mul_(scale / len(q))
            of_positive = -g if slope is None else -g * slope[0, rows]
            p = exponentials.mul_((g / sums).unsqueeze(1))
            learned = dscale is not None
            dq[rows], of_k, of_scale = gradients(p, of_positive, part, learned, q[rows], k, scale)
            assert of_k is not None
            dk += of_k
            if dscale is not None and of_scale is not None:
                dscale += of_scale
                if slope is not None:  # what is not the similarity times its derivative
                    beyond = positive[0, rows] - similarity[0, rows] * slope[0, rows]
                    dscale -= (g * beyond).sum() / scale**2
        value = value / len(q)
        if not keep:
            return (value,)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale)


class EnergyLoss(WholeLoss):
    """The mean of a weighted log-sum-exp within each view minus the mean of several positives.

    All views are anchors; the positives are the sample's other views. Joint, the log of the sum of
    the exponentials of all pairs of a sample's views takes the place of that mean.
    """

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        layout: PairLayout,
        weight: float,
        joint: bool,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        lse, _, exponentials, sums = sum_exponentials(q, k, scale, layout)
        # every pair of views counts twice, as either is an anchor
        if joint:
            own = einsum(q, q, "v r d, w r d -> v w r") * scale
            own.diagonal(dim1=0, dim2=1).fill_(-torch.inf)
            alignment = own.flatten(0, 1).logsumexp(dim=0)
            share = (own - alignment).exp_().mul_(1 / len(alignment))
            others, alignment = einsum(share, q, "v w r, w r d -> v r d"), alignment - math.log(2)
            cosine, alignment = (q * others).sum(), alignment.mean()
        else:
            others = (q.sum(dim=0) - q) * (1 / (len(q) - 1) / sums.numel())
            cosine = (q * others).sum()
            alignment = cosine * scale
        value = lse.mean() * weight - alignment
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
        choose: Choose,
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
        excluded, share, single, alone = choose(Pairs(anchors, candidates), q)
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
    denominator: Denominator, pairs: Pairs, like: Tensor
) -> tuple[Bool[Tensor, "a c"], Float[Tensor, "a c"], Tensor | None, Tensor | None]:
    """Which pairs are not summed, the share of each positive, and two kinds of anchors.

    The first kind has one positive, which is left out of its sum, the second has none; None: on a
    CPU there is no such anchor.

    Args:
        denominator: which pairs it has.
        pairs: all of them.
        like: a tensor of the dtype and device wanted.
    """
    of_both = [len(of.views) * len(of.samples) for of in (pairs.anchors, pairs.candidates)]
    positive = denominator.positive(pairs).tensor(like).expand(of_both)
    excluded = (~denominator(pairs)).tensor(like).expand(of_both)
    share = positive.to(like.dtype)
    count = share.sum(dim=1)
    alone, single = count == 0, count == 1
    share = share.div_(count.clamp_(min=1).unsqueeze(1))
    if not (denominator.positives and may_be(single)):
        return excluded, share, None, alone if may_be(alone) else None
    if denominator.views == "same":  # a positive may be of a view that is not summed
        positive = positive & ~excluded
        single &= positive.any(dim=1)
    excluded = excluded | (positive & single.unsqueeze(1))
    return excluded, share, single, alone if may_be(alone) else None


def with_one_positive(
    denominator: SelectPairs, positive: SelectPairs, pairs: Pairs, like: Tensor
) -> tuple[Bool[Tensor, "a c"], Float[Tensor, "a c"], Tensor, None]:
    """As `chosen_pairs`, of anchors that all have one positive, which is in the denominator.

    Args:
        denominator: the mask of the pairs that it has.
        positive: the mask of the positives.
        pairs: see there.
        like: see there.
    """
    of_both = [len(of.views) * len(of.samples) for of in (pairs.anchors, pairs.candidates)]
    own = positive(pairs)
    excluded = (~denominator(pairs) | own).tensor(like).expand(of_both)
    single = torch.ones(of_both[0], dtype=torch.bool, device=like.device)
    return excluded, own.tensor(like).expand(of_both).to(like.dtype), single, None


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
