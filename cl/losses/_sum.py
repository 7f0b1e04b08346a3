"""Sums over pairs, for losses that are no softmax: sigmoid, kernels, single positives.

Unlike a log-sum-exp, a sum has gradients that depend on no other pair. So each block computes its
value and its gradients in the forward pass and is discarded: memory is $O(n d)$ plus some blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cl.autograd import Function
from cl.losses._function import Times, one_by_one
from cl.losses._pairs import BlockSchedule, Denominator, EmbeddingBlock, Pairs, SelectPairs, take
from cl.losses._pairwise import PairContext, is_small

PairTerm = Callable[..., Tensor]  # (cosines, pairs, *scalars, *per_anchor) -> a term for each pair
NearTerm = Callable[[Tensor], Tensor]  # squared distances -> a term for each pair
NEAR = 0.99  # the cosine from which on a distance comes from the difference of two embeddings
CHUNK = 2**16  # near pairs that are computed at a time


class PairSum(Function):
    """Sum of `term(cosines, pairs, *scalars, *per_anchor)` over selected pairs, and its gradients.

    The gradients are outputs, since the backward pass needs nothing else; without `keep` there are
    none.
    """

    @staticmethod
    def forward(
        q: Tensor,
        k: Tensor,
        schedule: BlockSchedule,
        term: PairTerm,
        near: NearTerm | None,
        scalars: int,
        keep: bool,
        *others: Tensor,
    ) -> tuple[Tensor, ...]:
        total = torch.zeros((), dtype=torch.float64, device=q.device)
        gradients = [torch.zeros_like(t) for t in (q, k, *others)] if keep else []
        for pairs, excluded, transposed in schedule.blocks():
            a, c = pairs.anchors.positions, pairs.candidates.positions
            cosines, weight = q[a] @ k[c].T, 2 if transposed else 1
            if near is not None:
                close = cosines > NEAR
                selected = close if excluded is None else close & ~excluded
                excluded = close if excluded is None else close | excluded
                cosines = cosines.masked_fill(excluded, 0.0)
                into = tuple(gradient[at] for gradient, at in zip(gradients, (a, c), strict=False))
                total += weight * add_near(q[a], k[c], selected, near, weight, into)
            with torch.set_grad_enabled(keep):
                cosines.requires_grad_(keep)
                leaves = [t if i < scalars else t[a].unsqueeze(1) for i, t in enumerate(others)]
                leaves = [t.detach().requires_grad_(keep) for t in leaves]
                value = term(cosines, pairs, *leaves)
                value = value if excluded is None else value.masked_fill(excluded, 0.0)
                value = value.sum() * weight
            total += value.detach()
            if not keep:
                continue
            dcosines, *dleaves = torch.autograd.grad(
                value, [cosines, *leaves], materialize_grads=True
            )
            gradients[0][a].addmm_(dcosines, k[c])
            gradients[1][c].addmm_(dcosines.T, q[a])
            for i, dleaf in enumerate(dleaves):
                into = gradients[2 + i] if i < scalars else gradients[2 + i][a]
                into.add_(dleaf.reshape(into.shape))
        return total.to(q.dtype), *gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        q, k, *_ = inputs
        ctx.save_for_backward(q, k, *inputs[len(inputs) - len(output[3:]) :], *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        g = grad_outputs[0]
        if g is None:
            return (None,) * len(ctx.needs_input_grad)
        gradients = Times.apply(g, *ctx.saved_tensors)
        dq, dk, *others = cast("tuple[Tensor, ...]", gradients)
        return dq, dk, None, None, None, None, None, *others

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(PairSum, info, in_dims, *inputs)


def add_near(
    q: Float[Tensor, "a d"],
    k: Float[Tensor, "c d"],
    selected: Bool[Tensor, "a c"],
    near: NearTerm,
    weight: int,
    gradients: tuple[Tensor, ...],
) -> Float[Tensor, ""]:
    """The sum over near pairs, from the differences of their embeddings.

    2 - 2 cos would be rounding noise. That the pairs are counted synchronizes an accelerator.

    Args:
        q: anchors of a block.
        k: candidates of a block.
        selected: the near pairs that count.
        near: the term of a squared distance.
        weight: how often each pair counts.
        gradients: those of q and of k, to which the pairs' are added; none: of none.
    """
    total = torch.zeros((), dtype=torch.float64, device=q.device)
    for part in selected.nonzero().split(CHUNK):
        i, j = part.unbind(dim=1)
        difference = q[i] - k[j]
        with torch.set_grad_enabled(bool(gradients)):
            squared = difference.square().sum(dim=1).requires_grad_(bool(gradients))
            value = near(squared).sum()
        total += value.detach()
        if gradients:
            (slope,) = torch.autograd.grad(value, squared)
            slope = 2 * weight * slope.unsqueeze(1) * difference
            gradients[0].index_add_(0, i, slope)
            gradients[1].index_add_(0, j, -slope)
    return total


def pair_sum(
    context: PairContext,
    select: SelectPairs,
    term: PairTerm,
    scalars: Sequence[Tensor] = (),
    per_anchor: Sequence[Float[Tensor, "v r"]] = (),
    near: NearTerm | None = None,
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
        near: the term as a function of the squared distance, by which near pairs are computed
            where the term has a singularity; None: all are computed by their cosine.

    Returns:
        The sum, a scalar.
    """
    within = isinstance(select, Denominator) and select.views == "same"
    (anchors, _), (candidates, samples) = context.anchors, context.candidates
    pairs = len(anchors) * (1 if within else len(candidates)) * len(samples) ** 2
    if near is None and not per_anchor and is_small(context.z, pairs):
        return whole_sum(context, select, term, scalars)
    schedule = context.schedule(select, symmetric=not per_anchor)
    flat = [t.flatten() for t in per_anchor]
    inputs = context.q, context.k, *scalars, *flat
    keep = torch.is_grad_enabled()  # a batch of `vmap` does not say whether it needs a gradient
    outputs = PairSum.apply(*inputs[:2], schedule, term, near, len(scalars), keep, *inputs[2:])
    return cast("tuple[Tensor, ...]", outputs)[0]


def whole_sum(
    context: PairContext, select: SelectPairs, term: PairTerm, scalars: Sequence[Tensor]
) -> Float[Tensor, ""]:
    """`pair_sum` of a small batch: by autograd, through the matrix of all pairs.

    If only pairs within a view are selected, there is a matrix for each view, all with one mask.
    """
    q, k = context.q, context.k
    (anchor_views, rows), (candidate_views, samples) = context.anchors, context.candidates
    if isinstance(select, Denominator) and select.views == "same":
        q, k = take(context.z, context.anchors), take(context.z, context.candidates)
        anchor_views, candidate_views = anchor_views[:1], candidate_views[:1]
    anchors, candidates = (
        EmbeddingBlock(slice(0, 0), views, of, context.classes, context.unique)
        for views, of in ((anchor_views, rows), (candidate_views, samples))
    )
    pairs = Pairs(anchors, candidates)
    value = term(q @ k.mT, pairs, *scalars)
    selected = select(pairs).value
    return (value if selected is True else value.masked_fill(~torch.as_tensor(selected), 0)).sum()
