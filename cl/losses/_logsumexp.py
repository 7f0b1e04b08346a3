r"""Row log-sum-exps of chosen pairs, a block of similarities at a time.

The similarities are computed a block at a time, reduced to one log-sum-exp an anchor, thrown away,
and computed again in the backward: memory is $O(B d)$ and one block, never $B^2$. Where anchors and
candidates are the same embeddings, a block above the diagonal serves its rows and its columns.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cl.losses._pairs import Plan

KEPT = 2**20  # similarities, 4 MB in float32
STEEP = 40.0  # up to this scale exp(similarity) and its sums stay well inside float32


class LogSumExp(torch.autograd.Function):
    """Row log-sum-exp of `scale * q @ k.T` over the chosen pairs; -inf for a row without any.

    With unit vectors and a scale that is not `steep` no exponential overflows and no sum vanishes,
    so no maximum is taken. What fits into `KEPT` similarities is kept for the backward.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, scale: Tensor, plan: Plan, steep: bool) -> Tensor:
        sum_ = q.new_zeros(len(q))
        top = q.new_full((len(q),), -torch.inf)  # the running maximum, and the sum relative to it
        kept: list[Tensor] = []
        keep = not steep and len(q) * len(k) <= KEPT
        room = Room(q)

        def take(at: slice, x: Tensor, dim: int) -> None:
            higher = torch.maximum(top[at], x.amax(dim))
            safe = higher.masked_fill(higher == -torch.inf, 0.0)
            fresh = (x - safe.unsqueeze(dim)).exp_().sum(dim)
            sum_[at] = sum_[at] * (top[at] - safe).exp() + fresh
            top[at] = higher

        for pairs, left_out, mirror in plan.blocks():
            a, c = pairs.a.at, pairs.c.at
            x = similarities(q[a] * scale, k[c], left_out, None if keep else room)
            if steep:
                take(a, x, 1)
                if mirror:
                    take(c, x, 0)
                continue
            x.exp_()
            sum_[a] += x.sum(1)
            if mirror:
                sum_[c] += x.sum(0)
            if keep:
                kept.append(x)
        lse = sum_.log() + top if steep else sum_.log()
        ctx.save_for_backward(q, k, scale, lse, *kept)
        ctx.plan, ctx.steep = plan, steep
        return lse

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, scale, lse, *kept = ctx.saved_tensors
        g = grad_outputs[0].masked_fill(lse == -torch.inf, 0.0)
        lse = lse.masked_fill(lse == -torch.inf, 0.0)
        share = g if ctx.steep else g * (-lse).exp()
        dq = torch.zeros_like(q)
        dk = dq if ctx.plan.mirrored else torch.zeros_like(k)  # mirrored, q and k are one
        room, more = Room(q), Room(q)
        for i, (pairs, left_out, mirror) in enumerate(ctx.plan.blocks()):
            a, c = pairs.a.at, pairs.c.at
            x = kept[i] if kept else similarities(q[a] * scale, k[c], left_out, room)
            weight = more.of(x.shape)
            # x_ij = x_ji: mirrored, the candidate is an anchor too, and the anchor its candidate.
            diagonal = ctx.plan.mirrored and not mirror
            if ctx.steep:
                torch.sub(x, lse[a].unsqueeze(1), out=weight).exp_().mul_(share[a].unsqueeze(1))
                if ctx.plan.mirrored:
                    weight += x.sub_(lse[c]).exp_().mul_(share[c])
            else:
                row = share[a].unsqueeze(1)
                x = x if kept else x.exp_()
                if ctx.plan.mirrored:
                    torch.add(row, share[c], out=weight).mul_(x)
                else:
                    torch.mul(x, row, out=weight)
            dq[a].addmm_(weight, k[c])
            if not diagonal:
                dk[c].addmm_(weight.T, q[a])
        dscale = None
        if ctx.needs_input_grad[2]:  # every pair's share stands at its anchor and its candidate
            both = (dq * q).sum() if dk is dq else (dq * q).sum() + (dk * k).sum()
            dscale = both / 2
        dq *= scale
        return dq, None if dk is dq else dk.mul_(scale), dscale, None, None


class Room:
    """Memory for one block after another: what is fresh each time costs its page faults as well."""

    def __init__(self, like: Tensor) -> None:
        self.memory = like.new_empty(0)

    def of(self, shape: torch.Size) -> Tensor:
        """A tensor of that shape with anything in it; the one before is lost."""
        if self.memory.numel() < shape.numel():
            self.memory = self.memory.new_empty(shape.numel())
        return self.memory[: shape.numel()].view(shape)


def similarities(
    q: Float[Tensor, "a d"],
    k: Float[Tensor, "c d"],
    left_out: Bool[Tensor, "a c"] | None,
    room: Room | None,
) -> Float[Tensor, "a c"]:
    out = room.of(torch.Size((len(q), len(k)))) if room else None
    x = torch.mm(q, k.T, out=out)
    return x if left_out is None else x.masked_fill_(left_out, -torch.inf)


def log_sum_exp(
    q: Float[Tensor, "a d"],
    k: Float[Tensor, "c d"],
    scale: Float[Tensor, ""],
    plan: Plan,
    steep: bool,
) -> Float[Tensor, " a"]:
    r"""$\log \sum_j e^{scale \cdot q_i k_j}$ over the pairs of a plan; -inf where there are none.

    Args:
        q: anchors of unit length.
        k: candidates of unit length; the same tensor as q if the plan is mirrored.
        scale: the inverse temperature.
        plan: the blocks.
        steep: whether the scale may be above `STEEP`; then the maximum is taken out of each row.
    """
    lse = LogSumExp.apply(q, k, scale, plan, steep)
    assert isinstance(lse, Tensor)
    return lse
