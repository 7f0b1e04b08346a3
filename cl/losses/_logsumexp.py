r"""Row-wise log-sum-exp over selected pairs, computed block by block.

Each block of similarities is reduced to one log-sum-exp per anchor, discarded, and recomputed in
the backward pass, so memory is $O(n d)$ plus one block instead of $O(n^2)$. Where anchors are
candidates, too, a block above the diagonal serves its rows and its columns.
"""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cl.autograd import Function
from cl.losses._function import FirstOrder, one_by_one
from cl.losses._pairs import BlockSchedule

CACHED_SIMILARITIES = 2**20  # up to so many are kept for the backward pass: 4 MB in float32
MAX_SAFE_SCALE = 40.0  # up to this scale exp(similarity) and its row sums cannot overflow float32
REST = 0.25  # an own positive dominates a row in which all others hold less than this of the sum


class LogSumExp(Function):
    """Row-wise log-sum-exp of `scale * q @ k.T` over selected pairs; -inf for an empty row.

    With unit vectors and a scale up to `MAX_SAFE_SCALE` no exponential overflows and no sum
    underflows, so the running maximum is skipped. Up to `CACHED_SIMILARITIES` exponentials are
    kept for the backward pass.

    A row of `single` whose own positive holds nearly all of the sum leaves the positive out, and
    `dominated` says so: the log-sum-exp minus the positive would be rounding noise.
    """

    @staticmethod
    def forward(
        q: Tensor,
        k: Tensor,
        scale: Tensor,
        single: Tensor | None,
        schedule: BlockSchedule,
        subtract_max: bool,
        keep: bool,
    ) -> tuple[Tensor, ...]:
        row_sum = q.new_zeros(len(q))
        rest_sum = torch.zeros_like(row_sum)  # without the positives
        row_max = q.new_full((len(q),), -torch.inf)  # running maximum; sums are relative to it
        cached: list[Tensor] = []
        use_cache = keep and not subtract_max and len(q) * len(k) <= CACHED_SIMILARITIES
        scratch = ScratchBuffer(q)

        def accumulate(rows: slice, x: Tensor, own: Tensor | None, dim: int) -> None:
            """Add a block to the sums; online, by rescaling them whenever the maximum grows."""
            if subtract_max:
                new_max = torch.maximum(row_max[rows], x.amax(dim))
                finite_max = new_max.masked_fill(new_max == -torch.inf, 0.0)
                rescale = (row_max[rows] - finite_max).exp()
                row_sum[rows] *= rescale
                rest_sum[rows] *= rescale
                row_max[rows] = new_max
                x = (x - finite_max.unsqueeze(dim)).exp_()
            block_sum = x.sum(dim)
            row_sum[rows] += block_sum
            if single is not None:
                rest_sum[rows] += block_sum if own is None else x.masked_fill(own, 0.0).sum(dim)

        for pairs, excluded, transposed in schedule.blocks():
            a, c = pairs.anchors.positions, pairs.candidates.positions
            x = similarities(q[a] * scale, k[c], excluded, None if use_cache else scratch)
            x = x if subtract_max else x.exp_()
            own = None if single is None else schedule.own_positives(pairs)
            accumulate(a, x, own, 1)
            if transposed:
                accumulate(c, x, own, 0)
            if use_cache:
                cached.append(x)
        dominated = torch.zeros_like(row_sum, dtype=torch.bool)
        if single is not None:
            dominated = single & (rest_sum < REST * row_sum)
        lse = torch.where(dominated, rest_sum, row_sum).log()
        return lse + row_max if subtract_max else lse, dominated, *cached

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        q, k, scale, _, *ctx.how, _ = inputs
        ctx.save_for_backward(q, k, scale, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        g, needs_scale = grad_outputs[0], ctx.needs_input_grad[2]
        if g is None:
            return (None,) * 7
        gradients = Gradient.apply(g, *ctx.how, needs_scale, *ctx.saved_tensors)
        dq, dk, dscale = cast("tuple[Tensor, Tensor, Tensor]", gradients)
        symmetric = ctx.how[0].symmetric  # q and k are one tensor, whose gradient is dq
        return dq, None if symmetric else dk, dscale if needs_scale else None, *[None] * 4

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(LogSumExp, info, in_dims, *inputs)


class Gradient(FirstOrder):
    """The backward pass of `LogSumExp`, a function of its own so that it can say what it cannot."""

    @staticmethod
    def forward(
        g: Tensor,
        schedule: BlockSchedule,
        subtract_max: bool,
        needs_scale: bool,
        q: Tensor,
        k: Tensor,
        scale: Tensor,
        lse: Tensor,
        dominated: Tensor,
        *cached: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        symmetric = schedule.symmetric
        g = g.masked_fill(lse == -torch.inf, 0.0)
        lse = lse.masked_fill(lse == -torch.inf, torch.inf)  # so that exp(x - lse) is 0
        row_weight = g if subtract_max else g * (-lse).exp()
        dq = torch.zeros_like(q)
        dk = dq if symmetric else torch.zeros_like(k)
        x_scratch, p_scratch = ScratchBuffer(q), ScratchBuffer(q)
        weighted = q if symmetric else q * row_weight.unsqueeze(1)
        none_is_out = dominated.device.type == "cpu" and not dominated.any()
        for i, (pairs, excluded, transposed) in enumerate(schedule.blocks()):
            a, c = pairs.anchors.positions, pairs.candidates.positions
            x = cached[i] if cached else similarities(q[a] * scale, k[c], excluded, x_scratch)
            own = None if none_is_out else schedule.own_positives(pairs)
            row_out, column_out = dominated[a].unsqueeze(1), dominated[c]
            if not (transposed or pairs.candidates is pairs.anchors):
                # All weights are those of rows, and wait for the products' end.
                if not cached:
                    x = (x.sub_(lse[a].unsqueeze(1)) if subtract_max else x).exp_()
                x = leave_out(x, own, row_out, 0.0)
                dq[a].addmm_(x, k[c])
                dk[c].addmm_(x.T, weighted[a])
                continue
            # p is the gradient of the loss with respect to each similarity of the block. As
            # x_ij = x_ji, each similarity is in the row of either of its embeddings, which are
            # both among the candidates.
            p = p_scratch.view(x.shape)
            if subtract_max:
                row = leave_out(x, own, row_out, -torch.inf)
                torch.sub(row, lse[a].unsqueeze(1), out=p).exp_().mul_(row_weight[a].unsqueeze(1))
                column = leave_out(x, own, column_out, -torch.inf)
                p += column.sub_(lse[c]).exp_().mul_(row_weight[c])
            else:
                weight = leave_out(row_weight[a].unsqueeze(1), own, row_out, 0.0)
                x = x if cached else x.exp_()
                torch.add(weight, leave_out(row_weight[c], own, column_out, 0.0), out=p).mul_(x)
            dk[a].addmm_(p, k[c])
            if transposed:
                dk[c].addmm_(p.T, k[a])
        if not symmetric:
            dq *= row_weight.unsqueeze(1)
        dscale = torch.zeros_like(scale)
        if needs_scale:
            # Scale's gradient is the sum of p_ij q_i k_j, found once in dq * q and once in dk * k.
            both = (dq * q).sum() if dk is dq else (dq * q).sum() + (dk * k).sum()
            dscale = both / 2
        dq *= scale
        return dq, dq[:0].clone() if dk is dq else dk.mul_(scale), dscale

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(Gradient, info, in_dims, *inputs)


def leave_out(
    x: Float[Tensor, "..."],
    own: Bool[Tensor, "a c"] | None,
    dominated: Bool[Tensor, "..."],
    value: float,
) -> Float[Tensor, "..."]:
    """A copy with a value at the own positives of dominated rows; `x` itself in other blocks."""
    return x if own is None else x.masked_fill(own & dominated, value)


class ScratchBuffer:
    """Memory reused by every block; a fresh allocation each time would pay its page faults again.

    Args:
        like: a tensor of the device and dtype wanted.
    """

    def __init__(self, like: Tensor) -> None:
        self.memory = like.new_empty(0)

    def view(self, shape: torch.Size) -> Tensor:
        """An uninitialized tensor of that shape, which overwrites the one before."""
        if self.memory.numel() < shape.numel():
            self.memory = self.memory.new_empty(shape.numel())
        return self.memory[: shape.numel()].view(shape)


def similarities(
    q: Float[Tensor, "a d"],
    k: Float[Tensor, "c d"],
    excluded: Bool[Tensor, "a c"] | None,
    scratch: ScratchBuffer | None,
) -> Float[Tensor, "a c"]:
    """A block of `q @ k.T`, -inf at excluded pairs; in the scratch buffer if there is one."""
    out = scratch.view(torch.Size((len(q), len(k)))) if scratch else None
    x = torch.mm(q, k.T, out=out)
    return x if excluded is None else x.masked_fill_(excluded, -torch.inf)


def log_sum_exp(
    q: Float[Tensor, "a d"],
    k: Float[Tensor, "c d"],
    scale: Float[Tensor, ""],
    schedule: BlockSchedule,
    subtract_max: bool,
    single: Bool[Tensor, " a"] | None = None,
) -> tuple[Float[Tensor, " a"], Bool[Tensor, " a"]]:
    r"""$\log \sum_j e^{scale \cdot q_i k_j}$ over the pairs that a block schedule selects.

    Args:
        q: anchors of unit length.
        k: candidates of unit length; the same tensor as q if the schedule is symmetric.
        scale: the inverse temperature.
        schedule: the blocks and the selected pairs.
        subtract_max: whether the row maximum must be subtracted before the exponential, because
            the scale may be above `MAX_SAFE_SCALE`.
        single: anchors with a single positive, which leave it out where it holds nearly all of
            the sum; None: no anchor does.

    Returns:
        One value per anchor, -inf for an anchor without selected pairs; and which of them leave
        their positive out.
    """
    keep = torch.is_grad_enabled()
    outputs = LogSumExp.apply(q, k, scale, single, schedule, subtract_max, keep)
    lse, dominated, *_ = cast("tuple[Tensor, ...]", outputs)
    return lse, dominated
