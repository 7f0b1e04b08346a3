"""Sums over pairs, for losses that are no softmax: sigmoid, kernels, single positives.

A sum's gradient does not wait for the whole as a log-sum-exp's does. So each block gives its value
and its gradients on the way forward and is forgotten: memory is $O(B d)$ and some blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cl.losses._pairs import Plan, Rule
from cl.losses._pairwise import Scene

Each = Callable[..., Tensor]  # of cosines (a c), the pairs, and the tensors given besides


class PairSum(torch.autograd.Function):
    """Sum of `each(cosine, pairs, *scalars, *of_anchors)` over the chosen pairs."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, plan: Plan, each: Each, scalars: int, *others: Tensor
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=q.device)
        gradients = [torch.zeros_like(t) for t in (q, k, *others)]
        for pairs, left_out, mirror in plan.blocks():
            a, c = pairs.a.at, pairs.c.at
            with torch.enable_grad():
                cosine = (q[a] @ k[c].T).requires_grad_()
                leaves = [t if i < scalars else t[a].unsqueeze(1) for i, t in enumerate(others)]
                leaves = [t.detach().requires_grad_() for t in leaves]
                value = each(cosine, pairs, *leaves)
                value = value if left_out is None else value.masked_fill(left_out, 0.0)
                value = value.sum() * (2 if mirror else 1)
            total += value.detach()
            found = torch.autograd.grad(value, [cosine, *leaves], materialize_grads=True)
            gradients[0][a].addmm_(found[0], k[c])
            gradients[1][c].addmm_(found[0].T, q[a])
            for i, gradient in enumerate(found[1:]):
                into = gradients[2 + i]
                (into if i < scalars else into[a]).add_(
                    gradient.reshape(into[a].shape if i >= scalars else ())
                )
        ctx.save_for_backward(*gradients)
        return total.to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grad_outputs
        dq, dk, *others = ctx.saved_tensors
        return dq * g, dk * g, None, None, None, *(gradient * g for gradient in others)


def pair_sum(
    scene: Scene,
    chosen: Rule,
    each: Each,
    scalars: Sequence[Tensor] = (),
    of_anchors: Sequence[Float[Tensor, "v r"]] = (),
) -> Float[Tensor, ""]:
    """Sum over the chosen pairs of a function of their cosine.

    Args:
        scene: anchors and candidates.
        chosen: which pairs; symmetric in its two.
        each: `(cosines (a c), pairs, *scalars, *of_anchors (a 1))` to `(a c)`, elementwise. It must
            be finite with a finite gradient at pairs that are not chosen, too, and symmetric where
            anchors and candidates are the same.
        scalars: tensors without axes that get a gradient, a temperature or a bias.
        of_anchors: tensors with a number for each anchor that get a gradient.
    """
    plan = scene.plan(chosen, mirrored=not of_anchors)
    flat = [t.flatten() for t in of_anchors]
    value = PairSum.apply(scene.q, scene.k, plan, each, len(scalars), *scalars, *flat)
    assert isinstance(value, Tensor)
    return value
