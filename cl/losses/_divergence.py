r"""The Kullback-Leibler divergence between the two softmaxes of each anchor, block by block.

A block of anchors is compared with all candidates, gives its value and its gradients in the forward
pass, and is discarded: memory is $O(n d)$ plus one block. Softmaxes that are near each other are
compared by the differences of their embeddings, since a difference of log-sum-exps would be
rounding noise.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cl.autograd import Function
from cl.losses._function import Times, one_by_one


class DivergenceSum(Function):
    """Sum of the divergences of a slice of anchors, and its gradients; see `divergence_sum`.

    The gradients are outputs, since the backward pass needs nothing else; without `keep` there are
    none.
    """

    @staticmethod
    def forward(
        u: Tensor, v: Tensor, scale: Tensor, rows: slice, block: int, keep: bool
    ) -> tuple[Tensor, ...]:
        total = torch.zeros((), dtype=torch.float64, device=u.device)
        du, dv = torch.zeros_like(u), torch.zeros_like(v)
        difference, middle = v - u, (v + u) / 2
        anchors = torch.cat([difference, -middle], dim=1)
        candidates = torch.cat([middle, difference], dim=1)
        for start in range(rows.start, rows.stop, block):
            part = slice(start, min(start + block, rows.stop))
            of_q = v[part] * scale @ u.T
            # v_i u_j - u_i v_j, exact to the rounding error of the views' differences
            change = anchors[part] * scale @ candidates.T
            divergence, dq, dr = row_divergences(of_q, change)
            total += divergence.sum()
            if not keep:
                continue
            dv[part].addmm_(dq, u)
            dv.addmm_(dr.T, u[part])
            du.addmm_(dq.T, v[part])
            du[part].addmm_(dr, v)
        # Each similarity's gradient times the similarity is found once in du * u, once in dv * v.
        gradients = (du * scale, dv * scale, (du * u).sum()) if keep else ()
        return total.to(u.dtype), *gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:3], *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        if grad_outputs[0] is None:
            return (None,) * 6
        gradients = cast("tuple[Tensor, ...]", Times.apply(grad_outputs[0], *ctx.saved_tensors))
        return *gradients, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(DivergenceSum, info, in_dims, *inputs)


def row_divergences(
    of_q: Float[Tensor, "a n"], change: Float[Tensor, "a n"]
) -> tuple[Float[Tensor, " a"], Float[Tensor, "a n"], Float[Tensor, "a n"]]:
    """The divergence of each row's softmaxes q and r, and its gradients.

    Args:
        of_q: logits of q.
        change: the logits of q minus those of r.

    Returns:
        KL(q || r), its gradient with respect to the logits of q, and to those of r.
    """
    of_r = of_q - change
    lse_q, lse_r = of_q.logsumexp(dim=1, keepdim=True), of_r.logsumexp(dim=1, keepdim=True)
    q, r = (of_q - lse_q).exp_(), (of_r - lse_r).exp_()
    mean = (q * change).sum(dim=1, keepdim=True)
    ratio = change - mean  # log(q / r) minus the divergence
    dq = q * ratio
    far = mean + lse_r - lse_q
    near = (shrunk(q, r * far.exp(), ratio).sum(dim=1) + dq.sum(dim=1)).log1p().unsqueeze(1)
    divergence = torch.where(far < 1, near, far)
    return divergence.squeeze(1), dq, shrunk(q, r, ratio + divergence)


def shrunk(
    q: Float[Tensor, "a n"], r: Float[Tensor, "a n"], ratio: Float[Tensor, "a n"]
) -> Float[Tensor, "a n"]:
    """The difference r - q, without cancellation where they are near; `ratio` is log(q / r)."""
    return torch.where(ratio > -1, torch.expm1(-ratio).mul_(q), r - q)


def divergence_sum(
    u: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    scale: Float[Tensor, ""],
    rows: slice,
    pairs: int,
) -> Float[Tensor, ""]:
    r"""Sum of $KL(q_i \| r_i)$, $q_{ij} \propto e^{s v_i u_j}$ and $r_{ij} \propto e^{s u_i v_j}$.

    Args:
        u: one view of all samples, of unit length.
        v: the other view.
        scale: s, the inverse temperature.
        rows: the local anchors i, with a start and a stop.
        pairs: how many pairs a block has at most, or a single anchor.

    Returns:
        The sum over the local anchors, a scalar.
    """
    keep = torch.is_grad_enabled()
    found = DivergenceSum.apply(u, v, scale, rows, max(1, pairs // max(1, len(u))), keep)
    return cast("tuple[Tensor, ...]", found)[0]
