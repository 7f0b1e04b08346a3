r"""Row-wise log-sum-exp of a small batch: one product, whose exponentials are kept.

In a small batch the number of operations takes the time, not the memory that they touch. So there
are no blocks and no masks here: the pairs of one sample are a diagonal of the matrix of pairs,
taken out of it for the positive and left out of the sum. Memory is $O(n^2)$; beyond `MAX_PAIRS` the
block engine is faster.
"""

from typing import Any, cast

import torch
from torch import Tensor

from cl.autograd import Function
from cl.losses._function import FirstOrder, one_by_one
from cl.losses._layout import PairLayout

# Pairs of all processes' anchors, so that all ranks decide alike: 64 MB and 256 MB in float32.
MAX_PAIRS = {"cpu": 2**24, "cuda": 2**26}


class DirectLogSumExp(Function):
    """Log-sum-exp over the pairs of different samples, and the similarity to the positive.

    Of no or several positives the similarity is empty. The last outputs are kept for the backward
    pass: the exponentials and their sums.
    """

    @staticmethod
    def forward(
        q: Tensor, k: Tensor | None, scale: Tensor | float, layout: PairLayout
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lse, positive, x, sums = sum_exponentials(q, k, scale, layout)
        shape = -1, positive.shape[-1]
        return lse.view(shape), positive.reshape(shape), x, sums

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
        gradients = DirectGradient.compute(
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
        layout: PairLayout,
        needs_scale: bool,
        q: Tensor,
        k: Tensor | None,
        scale: Tensor | float,
        exponentials: Tensor,
        sums: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        g, g_positive = g * scale, None if g_positive is None else g_positive * scale
        p = similarity_gradients(g.view(sums.shape) / sums, exponentials, layout)
        none = q.new_empty(0)
        dq, dk, dscale = gradients(p, g_positive, layout, needs_scale, q, k, scale)
        return dq, none if dk is None else dk, none if dscale is None else dscale

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(DirectGradient, info, in_dims, *inputs)


def sum_exponentials(
    q: Tensor, k: Tensor | None, scale: Tensor | float, layout: PairLayout
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum the exponentials of the similarities of different samples.

    Args:
        q: the anchors that `layout` arranges.
        k: the candidates; None: the anchors.
        scale: the inverse temperature.
        layout: where the pairs are.

    Returns:
        The log-sum-exp, the similarities to the only positive (or none), the exponentials, in which
        those of the same sample are 0, and their sums; both relative to the largest of a row if
        the layout subtracts it.
    """
    x = scaled_products(q, q if k is None else k, scale)
    own = layout.own(x)
    layout.fill_self(own, -torch.inf)
    positive = own.amax(dim=-2) if layout.positives == 1 else x.new_empty(0, own.shape[-1])
    own.fill_(-torch.inf)
    if layout.subtract_max:
        row_max = x.amax(dim=-1)
        sums = x.sub_(row_max.unsqueeze(-1)).exp_().sum(dim=-1)
        return sums.log().add_(row_max), positive, x, sums
    x.exp_()
    if layout.product == "mutual":
        sums = torch.stack([x.sum(dim=1), x.sum(dim=0)])
    else:
        sums = x.sum(dim=-1)
    return sums.log(), positive, x, sums


def scaled_products(q: Tensor, k: Tensor, scale: Tensor | float) -> Tensor:
    """The products of anchors and candidates times the scale, `(..., a, c)`."""
    if isinstance(scale, Tensor):
        return (q * scale) @ k.mT
    product = torch.addmm if q.dim() == 2 else torch.baddbmm
    return product(q.new_empty(()), q, k.mT, beta=0, alpha=scale)


def similarity_gradients(weight: Tensor, exponentials: Tensor, layout: PairLayout) -> Tensor:
    """The gradient of each similarity, by that of its exponential in either row that has it.

    Args:
        weight: the gradient of a row's exponentials: that of the log-sum-exp over the sum.
        exponentials: of `sum_exponentials`.
        layout: see there.
    """
    if layout.product == "mutual":
        return (weight[0].unsqueeze(1) + weight[1]).mul_(exponentials)
    if not layout.is_alone:
        return exponentials * weight.unsqueeze(-1)
    if layout.subtract_max:
        p = exponentials * weight.unsqueeze(-1)
        return p + p.mT
    return (weight.unsqueeze(-1) + weight.unsqueeze(-2)).mul_(exponentials)


def gradients(
    p: Tensor,
    g_positive: Tensor | None,
    layout: PairLayout,
    needs_scale: bool,
    q: Tensor,
    k: Tensor | None,
    scale: Tensor | float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients of q, k and the scale; None of those that are not needed.

    Args:
        p: the gradient of each similarity times the scale, of `similarity_gradients`; changed.
        g_positive: the gradient of each positive's similarity times the scale; None: of none.
        layout: see `sum_exponentials`, like q, k and scale.
        needs_scale: whether the scale's is needed.
        q: see there.
        k: see there.
        scale: see there.
    """
    if g_positive is not None:
        own = layout.own(p)
        g_positive = g_positive.view(*own.shape[:-2], own.shape[-1])
        each = g_positive.unsqueeze(-2)
        own.copy_(each + g_positive.unsqueeze(-3) if k is None else each)
        layout.fill_self(own, 0.0)
    dq = p @ (q if k is None else k)
    dscale = (dq * q).sum() / scale if needs_scale else None
    if k is None:
        return dq, None, None if dscale is None else dscale / 2
    return dq, p.mT @ q, dscale
