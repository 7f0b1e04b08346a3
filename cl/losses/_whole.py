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
from cl.losses._layout import Layout
from cl.precision import Unit

LINEAR = 50.0  # from here on log(1 + e^x) is x, in float64 too


class SoftmaxLoss(Function):
    """The mean over anchors of a softmax loss with one positive each, and its gradients.

    The gradients are outputs, since the backward pass needs nothing else; without `keep` there are
    none. A scale that is a number has none.
    """

    @staticmethod
    def forward(
        z: Tensor, scale: Tensor | float, layout: Layout, with_positive: bool, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        sums, positive, exponentials = sum_exponentials(q, k, scale, layout)
        positive = positive.view(-1, positive.shape[-1])
        rest = sums.log().view(-1, positive.shape[-1]) - positive  # accurate near zero, too
        value = (F.softplus(rest, 1, LINEAR) if with_positive else rest).mean()
        if not keep:
            return (value,)
        g = (rest.sigmoid() if with_positive else torch.ones_like(rest)) * (scale / rest.numel())
        of_positive = -g if len(g) == len(positive) else -g.sum(dim=0)
        given = g, of_positive, layout, isinstance(scale, Tensor), q, k, scale, exponentials, sums
        dq, dk, dscale = gradients(*given)
        dz = Unit.pull(layout.gather(dq, dk, u), u, lengths)
        return (value, dz) if dscale is None else (value, dz, dscale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        gradients = output[1:]
        ctx.save_for_backward(*inputs[: len(gradients)], *gradients)
        ctx.mark_non_differentiable(*gradients)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        if grad_outputs[0] is None:
            return None, None, None, None, None
        dz, *dscale = Times.compute(grad_outputs[0], *ctx.saved_tensors)
        return dz, dscale[0] if dscale else None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(SoftmaxLoss, info, in_dims, *inputs)
