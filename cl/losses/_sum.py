"""Sums over pairs, for losses that are no softmax: sigmoid, kernels, single positives.

Unlike a log-sum-exp, a sum has gradients that depend on no other pair. So each block computes its
value and its gradients in the forward pass and is discarded: memory is $O(n d)$ plus some blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cl.losses._pairs import BlockSchedule, SelectPairs
from cl.losses._pairwise import PairContext

PairTerm = Callable[..., Tensor]  # (cosines, pairs, *scalars, *per_anchor) -> a term for each pair


class PairSum(torch.autograd.Function):
    """Sum of `term(cosines, pairs, *scalars, *per_anchor)` over selected pairs.

    Second derivatives are not supported.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        schedule: BlockSchedule,
        term: PairTerm,
        scalars: int,
        *others: Tensor,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=q.device)
        gradients = [torch.zeros_like(t) for t in (q, k, *others)]
        for pairs, excluded, transposed in schedule.blocks():
            a, c = pairs.anchors.positions, pairs.candidates.positions
            with torch.enable_grad():
                cosines = (q[a] @ k[c].T).requires_grad_()
                leaves = [t if i < scalars else t[a].unsqueeze(1) for i, t in enumerate(others)]
                leaves = [t.detach().requires_grad_() for t in leaves]
                value = term(cosines, pairs, *leaves)
                value = value if excluded is None else value.masked_fill(excluded, 0.0)
                value = value.sum() * (2 if transposed else 1)
            total += value.detach()
            dcosines, *dleaves = torch.autograd.grad(
                value, [cosines, *leaves], materialize_grads=True
            )
            gradients[0][a].addmm_(dcosines, k[c])
            gradients[1][c].addmm_(dcosines.T, q[a])
            for i, dleaf in enumerate(dleaves):
                into = gradients[2 + i] if i < scalars else gradients[2 + i][a]
                into.add_(dleaf.reshape(into.shape))
        ctx.save_for_backward(*gradients)
        return total.to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grad_outputs
        dq, dk, *others = ctx.saved_tensors
        return dq * g, dk * g, None, None, None, *(gradient * g for gradient in others)


def pair_sum(
    context: PairContext,
    select: SelectPairs,
    term: PairTerm,
    scalars: Sequence[Tensor] = (),
    per_anchor: Sequence[Float[Tensor, "v r"]] = (),
) -> Float[Tensor, ""]:
    """Sum a function of the cosine over the selected pairs.

    Args:
        context: the anchors and the candidates.
        select: the mask of the pairs that count; symmetric in anchor and candidate.
        term: `(cosines (a c), pairs, *scalars, *per_anchor (a 1))` to `(a c)`, elementwise. It must
            be finite with a finite gradient at excluded pairs, too, and symmetric where anchors
            and candidates are the same.
        scalars: tensors without axes that get a gradient, such as a temperature or a bias.
        per_anchor: tensors with one value per anchor that get a gradient.

    Returns:
        The sum, a scalar.
    """
    schedule = context.schedule(select, symmetric=not per_anchor)
    flat = [t.flatten() for t in per_anchor]
    value = PairSum.apply(context.q, context.k, schedule, term, len(scalars), *scalars, *flat)
    assert isinstance(value, Tensor)
    return value
