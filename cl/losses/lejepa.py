"""LeJEPA (Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544)."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Count, Share
from cl.precision import precise, unit, without_autocast

LAST = 3.0  # the interval of t on which characteristic functions are compared, of the authors' code


def lejepa(
    z: Float[Tensor, "v n d"],
    directions: Float[Tensor, "m d"],
    global_views: int | None = None,
    *,
    sigreg_weight: Share = 0.05,  # the paper's lambda
    knots: Count = 17,  # the authors' code's
) -> Float[Tensor, ""]:
    r"""$(1 - \lambda)\,\mathrm{mean}\,(\mu_n - z_{vn})^2 + \lambda\,\mathrm{mean}_v\,SIGReg(z_v)$.

    $\mu_n$ is the mean of a sample's full-size views; the mean of squares is over views, samples
    and dimensions, as in the authors' code. No stop-gradient, teacher, predictor or negatives.
    Every process computes the loss of the whole batch.

    Args:
        z: embeddings of every view of every sample of all processes, full-size views first.
        directions: m random directions of any length, new ones in every step.
        global_views: number of full-size views; by default all.
        sigreg_weight: weight of SIGReg (lambda in the paper)
        knots: points at which characteristic functions are compared

    Returns:
        The loss, in float32 at least.

    Two samples at 0 whose views agree: only their distribution is wrong.

    >>> z = torch.zeros(2, 2, 1)
    >>> lejepa(z, torch.ones(1, 1), sigreg_weight=0.0).item()
    0.0
    >>> round(lejepa(z, torch.ones(1, 1), sigreg_weight=1.0).item(), 4)
    0.8041
    """
    with without_autocast(z):
        z = precise(z)
        if not z.numel():
            return z.sum()
        center = z[:global_views].mean(dim=0)
        distance = (center - z).square().mean()
        gaussian = sigreg(z, directions, knots)
        return (1 - sigreg_weight) * distance + sigreg_weight * gaussian


def sigreg(
    z: Float[Tensor, "v n d"], directions: Float[Tensor, "m d"], knots: int = 17
) -> Float[Tensor, ""]:
    r"""How far embeddings are from $N(0, I)$: mean over views and directions of Epps-Pulley's test.

    $n \int |\varphi(t) - e^{-t^2 / 2}|^2 e^{-t^2 / 2} dt$ with $\varphi$ the characteristic
    function of the n embeddings' projections on a direction, by the trapezoidal rule on [-3, 3];
    the integrand is even.

    Args:
        z: embeddings of all processes.
        directions: m directions of any length.
        knots: points of the rule on [0, 3].
    """
    x = z @ unit(directions.to(z.dtype)).T
    step, total = LAST / max(1, knots - 1), z.new_zeros(x.shape[0], x.shape[2])
    for i in range(knots):
        t = i * step
        weight = step if i in (0, knots - 1) else 2 * step
        total = total + weight * squared_error(x, t)
    return z.shape[1] * total.mean()


def squared_error(x: Float[Tensor, "v n m"], t: float) -> Float[Tensor, "v m"]:
    r"""$|\varphi(t) - e^{-t^2 / 2}|^2 e^{-t^2 / 2}$ of the n samples."""
    target = torch.exp(x.new_full((), -t * t / 2))
    real, imaginary = cast("tuple[Tensor, Tensor]", Characteristic.apply(x, t))
    return ((real - target).square() + imaginary.square()) * target


class Characteristic(torch.autograd.Function):
    """The characteristic function of n samples at t, real and imaginary.

    Only the samples are kept for the backward pass, so that memory does not grow with the knots.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        return (x * t).cos().mean(dim=1), (x * t).sin().mean(dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.t = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        real, imaginary = (g.unsqueeze(1) / x.shape[1] for g in grad_outputs)
        return real * -(x * ctx.t).sin() * ctx.t + imaginary * (x * ctx.t).cos() * ctx.t, None
