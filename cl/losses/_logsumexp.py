r"""Row-wise log-sum-exp over selected pairs, computed block by block.

Each block of similarities is reduced to one log-sum-exp per anchor, discarded, and recomputed in
the backward pass, so memory is $O(n d)$ plus one block instead of $O(n^2)$. Where anchors and
candidates are the same embeddings, a block above the diagonal serves its rows and its columns.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cl.losses._pairs import BlockSchedule

CACHED_SIMILARITIES = 2**20  # up to so many are kept for the backward pass: 4 MB in float32
MAX_SAFE_SCALE = 40.0  # up to this scale exp(similarity) and its row sums cannot overflow float32


class LogSumExp(torch.autograd.Function):
    """Row-wise log-sum-exp of `scale * q @ k.T` over selected pairs; -inf for an empty row.

    With unit vectors and a scale up to `MAX_SAFE_SCALE` no exponential overflows and no sum
    underflows, so the running maximum is skipped. Up to `CACHED_SIMILARITIES` exponentials are
    kept for the backward pass. Second derivatives are not supported.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, scale: Tensor, schedule: BlockSchedule, subtract_max: bool
    ) -> Tensor:
        row_sum = q.new_zeros(len(q))
        row_max = q.new_full((len(q),), -torch.inf)  # running maximum; the sum is relative to it
        cached: list[Tensor] = []
        use_cache = not subtract_max and len(q) * len(k) <= CACHED_SIMILARITIES
        scratch = ScratchBuffer(q)

        def accumulate(rows: slice, x: Tensor, dim: int) -> None:
            """Online log-sum-exp: rescale the sum whenever the maximum grows."""
            new_max = torch.maximum(row_max[rows], x.amax(dim))
            finite_max = new_max.masked_fill(new_max == -torch.inf, 0.0)
            block_sum = (x - finite_max.unsqueeze(dim)).exp_().sum(dim)
            row_sum[rows] = row_sum[rows] * (row_max[rows] - finite_max).exp() + block_sum
            row_max[rows] = new_max

        for pairs, excluded, transposed in schedule.blocks():
            a, c = pairs.anchors.positions, pairs.candidates.positions
            x = similarities(q[a] * scale, k[c], excluded, None if use_cache else scratch)
            if subtract_max:
                accumulate(a, x, 1)
                if transposed:
                    accumulate(c, x, 0)
                continue
            x.exp_()
            row_sum[a] += x.sum(1)
            if transposed:
                row_sum[c] += x.sum(0)
            if use_cache:
                cached.append(x)
        lse = row_sum.log() + row_max if subtract_max else row_sum.log()
        ctx.save_for_backward(q, k, scale, lse, *cached)
        ctx.schedule, ctx.subtract_max = schedule, subtract_max
        return lse

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, scale, lse, *cached = ctx.saved_tensors
        symmetric = ctx.schedule.symmetric
        g = grad_outputs[0].masked_fill(lse == -torch.inf, 0.0)
        lse = lse.masked_fill(lse == -torch.inf, 0.0)
        row_weight = g if ctx.subtract_max else g * (-lse).exp()
        dq = torch.zeros_like(q)
        dk = dq if symmetric else torch.zeros_like(k)  # if symmetric, q and k are one tensor
        x_scratch, p_scratch = ScratchBuffer(q), ScratchBuffer(q)
        for i, (pairs, excluded, transposed) in enumerate(ctx.schedule.blocks()):
            a, c = pairs.anchors.positions, pairs.candidates.positions
            x = cached[i] if cached else similarities(q[a] * scale, k[c], excluded, x_scratch)
            # p is the gradient of the loss with respect to each similarity of the block. If
            # symmetric, x_ij = x_ji: each similarity is in the row of either of its embeddings.
            p = p_scratch.view(x.shape)
            if ctx.subtract_max:
                torch.sub(x, lse[a].unsqueeze(1), out=p).exp_().mul_(row_weight[a].unsqueeze(1))
                if symmetric:
                    p += x.sub_(lse[c]).exp_().mul_(row_weight[c])
            else:
                weight = row_weight[a].unsqueeze(1)
                x = x if cached else x.exp_()
                if symmetric:
                    torch.add(weight, row_weight[c], out=p).mul_(x)
                else:
                    torch.mul(x, weight, out=p)
            dq[a].addmm_(p, k[c])
            if not symmetric or transposed:
                dk[c].addmm_(p.T, q[a])
        dscale = None
        if ctx.needs_input_grad[2]:
            # Scale's gradient is the sum of p_ij q_i k_j, found once in dq * q and once in dk * k.
            both = (dq * q).sum() if dk is dq else (dq * q).sum() + (dk * k).sum()
            dscale = both / 2
        dq *= scale
        return dq, None if dk is dq else dk.mul_(scale), dscale, None, None


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
) -> Float[Tensor, " a"]:
    r"""$\log \sum_j e^{scale \cdot q_i k_j}$ over the pairs that a block schedule selects.

    Args:
        q: anchors of unit length.
        k: candidates of unit length; the same tensor as q if the schedule is symmetric.
        scale: the inverse temperature.
        schedule: the blocks and the selected pairs.
        subtract_max: whether the row maximum must be subtracted before the exponential, because
            the scale may be above `MAX_SAFE_SCALE`.

    Returns:
        One value per anchor; -inf for an anchor without selected pairs.
    """
    lse = LogSumExp.apply(q, k, scale, schedule, subtract_max)
    assert isinstance(lse, Tensor)
    return lse
