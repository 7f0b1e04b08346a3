r"""Row-wise log-sum-exp of a small batch: one product, whose exponentials are kept.

In a small batch the number of operations takes the time, not the memory that they touch. So there
are no blocks and no masks here: the pairs of one sample are a diagonal of the matrix of pairs,
taken out of it for the positive and zeroed for the sum. Memory is $O(n^2)$; beyond `MAX_EMBEDDINGS`
the block engine is faster.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cl.autograd import Function
from cl.losses._function import FirstOrder, one_by_one
from cl.losses._pairs import disjoint, take

MAX_EMBEDDINGS = 2048  # of all views and processes, so that all ranks decide alike


@dataclass(frozen=True)
class Layout:
    """Where the pairs of one sample are in a matrix of pairs, or in a batch of them.

    Args:
        anchor_views: how many views the anchors of a matrix are from; samples run fastest.
        candidate_views: how many views the candidates of a matrix are from.
        first: the candidate sample that is the first anchor's.
        own_view: the candidate view that is the first anchor's, so that an anchor meets itself;
            None: no anchor does.
        two_sided: the candidates are anchors too, of a log-sum-exp over each column.
    """

    anchor_views: int
    candidate_views: int
    first: int
    own_view: int | None
    two_sided: bool = False

    @property
    def positives(self) -> int:
        """How many of a sample's candidates are not the anchor."""
        return self.candidate_views - (self.own_view is not None)

    def own(self, x: Float[Tensor, "... m c"]) -> Float[Tensor, "... a w r"]:
        """A view of the pairs of one sample, by anchor view, candidate view and anchor sample."""
        pairs = x.view(*x.shape[:-2], self.anchor_views, -1, self.candidate_views, self.samples(x))
        return pairs.diagonal(self.first, -3, -1)

    def samples(self, x: Float[Tensor, "... m c"]) -> int:
        """How many samples the candidates are of."""
        return x.shape[-1] // self.candidate_views

    def fill_self(self, own: Float[Tensor, "... a w r"], value: float) -> None:
        """Fill the pairs of an anchor with itself."""
        if self.own_view is not None:
            own.diagonal(self.own_view, -3, -2).fill_(value)


def arrange(
    z: Float[Tensor, "v n d"],
    anchors: tuple[range, range],
    candidates: tuple[range, range],
    views: Literal["all", "same", "other"],
) -> tuple[Tensor, Tensor | None, Layout] | None:
    """Arrange embeddings so that one product, or a batch of them, has all pairs.

    Args:
        z: embeddings of unit length.
        anchors: their views and samples.
        candidates: their views and samples, which are all.
        views: the views whose pairs count, see `Denominator`.

    Returns:
        Anchors, candidates (None: the anchors) and the layout; None if no product has these pairs.
    """
    (of_anchors, samples), (of_candidates, all_samples) = anchors, candidates
    whole, same = samples == all_samples, of_anchors == of_candidates
    q, k = take(z, anchors), take(z, candidates)
    if views == "same" and same:
        return q, None if whole else k, Layout(1, 1, samples.start, 0)
    if views == "other" and same and len(q) == 2:
        if whole:
            one, other = q.unbind()  # a single node of autograd
            return one, other, Layout(1, 1, 0, None, two_sided=True)
        return q, k.flip(0), Layout(1, 1, samples.start, None)
    apart = disjoint(of_anchors, of_candidates)
    inside = of_anchors.start >= of_candidates.start and of_anchors.stop <= of_candidates.stop
    if views == "same" or not (apart or (inside and views == "all")):
        return None
    own_view = None if apart else of_anchors.start - of_candidates.start
    layout = Layout(len(of_anchors), len(of_candidates), samples.start, own_view)
    return q.flatten(0, 1), None if whole and same else k.flatten(0, 1), layout


class DirectLogSumExp(Function):
    """Log-sum-exp over the pairs of different samples, and the similarity to the positive.

    Of no or several positives the similarity is empty. The last outputs are kept for the backward
    pass: the exponentials and their sums.
    """

    @staticmethod
    def forward(
        q: Tensor, k: Tensor | None, scale: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = (q * scale) @ (q if k is None else k).mT
        own = layout.own(x)
        layout.fill_self(own, -torch.inf)
        positive = own.amax(dim=-2) if layout.positives == 1 else x.new_empty(0, own.shape[-1])
        x.exp_()
        own.zero_()
        sums = torch.stack([x.sum(dim=1), x.sum(dim=0)]) if layout.two_sided else x.sum(dim=-1)
        shape = -1, own.shape[-1]
        return sums.log().view(shape), positive.reshape(shape), x, sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.layout = inputs
        ctx.save_for_backward(*tensors, *output[2:])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        needs_scale = ctx.needs_input_grad[2]
        if grad_outputs[0] is None:
            return None, None, None, None
        gradients = DirectGradient.apply(
            *grad_outputs[:2], ctx.layout, needs_scale, *ctx.saved_tensors
        )
        dq, dk, dscale = cast("tuple[Tensor, Tensor, Tensor]", gradients)
        return dq, dk if ctx.needs_input_grad[1] else None, dscale if needs_scale else None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(DirectLogSumExp, info, in_dims, *inputs)


class DirectGradient(FirstOrder):
    """The backward pass of `DirectLogSumExp`, which says that it has none itself."""

    @staticmethod
    def forward(
        g: Tensor,
        g_positive: Tensor | None,
        layout: Layout,
        needs_scale: bool,
        q: Tensor,
        k: Tensor | None,
        scale: Tensor,
        exponentials: Tensor,
        sums: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight = (g * scale).view(sums.shape) / sums
        # p is scale times the gradient with respect to each similarity
        if k is None:  # a similarity is in the row of either of its embeddings
            p = (weight.unsqueeze(-1) + weight.unsqueeze(-2)).mul_(exponentials)
        elif layout.two_sided:
            p = (weight[0].unsqueeze(1) + weight[1]).mul_(exponentials)
        else:
            p = exponentials * weight.unsqueeze(-1)
        if g_positive is not None:
            own = layout.own(p)
            g_positive = (g_positive * scale).view(*own.shape[:-2], own.shape[-1])
            each = g_positive.unsqueeze(-2)
            own.copy_(each + g_positive.unsqueeze(-3) if k is None else each)
            layout.fill_self(own, 0.0)
        dq = p @ (q if k is None else k)
        dk = dq.new_empty(0) if k is None else p.mT @ q
        dscale = (dq * q).sum() / scale if needs_scale else scale.new_empty(0)
        return dq, dk, dscale / 2 if k is None else dscale

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(DirectGradient, info, in_dims, *inputs)
