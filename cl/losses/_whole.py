r"""A softmax loss of a small batch as one autograd function, normalization and mean included.

In the smallest batches most of the time is what autograd takes for each operation. The loss is a
scalar, so its gradient is known up to a factor and computed in the forward pass.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cl.autograd import Function
from cl.losses._direct import gradients, sum_exponentials
from cl.losses._function import Times, one_by_one
from cl.losses._layout import PairLayout
from cl.precision import Unit

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
        given = g, of_positive, layout, isinstance(scale, Tensor), q, k, scale, exponentials, sums
        dq, dk, dscale = gradients(*given)
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
        g = scale * (weight / sums.numel()) * torch.ones_like(sums)
        given = g, None, layout, isinstance(scale, Tensor), q, k, scale, exponentials, sums
        dq, dk, dscale = gradients(*given)
        dq = dq.sub_(others * (2 * scale))
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale - cosine)
