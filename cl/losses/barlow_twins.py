"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1 and 2)."""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.autograd import Function
from cl.bounds import NonNegative, Positive
from cl.losses._defined import require_samples, require_views
from cl.losses._function import one_by_one
from cl.losses._pairs import ALL, Rows
from cl.precision import LARGE, precise, safe_factor, without_autocast

EPS = 1e-5  # of the BatchNorm in the authors' code, added to the variances


def barlow_twins(
    z: Float[Tensor, "2 n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    lamb: NonNegative = 5e-3,  # the paper's; 0.0051 in its code
    scale_loss: Positive = 1.0,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    r"""$\sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2$, C the views' cross-correlation.

    The correlation is over the whole batch, with the biased variance, in float32 at least. Every
    process computes the loss of the whole batch, whose gradient DDP's average leaves as it is. Use
    it without negatives and with small batches; it wants many dimensions.

    Args:
        z: `(2, n, d)` embeddings of two views of every sample of all processes.
        ids: have no effect.
        rows: have no effect.
        lamb: weight of the off-diagonal correlations (lambda in the paper).
        scale_loss: factor of the whole loss (0.024 in the authors' code, for LARS).
        unbiased: divide by the unbiased standard deviation plus epsilon, as in the paper's listing.

    Returns:
        The loss of the whole batch, a scalar.

    Example:
        One dimension, two samples at -1 and 1 in both views: C = 1 but for the epsilon, the loss
        is 0.

        >>> round(barlow_twins(torch.tensor([[[-1.0], [1.0]]] * 2)).item(), 6)
        0.0

        Equivalent to:

        >>> z = torch.randn(2, 4, 8)
        >>> u, v = (torch.nn.functional.batch_norm(x, None, None, training=True) for x in z)
        >>> weight = torch.full((8, 8), 5e-3).fill_diagonal_(1)
        >>> naive = (weight * (u.T @ v / 4 - torch.eye(8)).square()).sum()
        >>> torch.testing.assert_close(barlow_twins(z), naive)
    """
    with without_autocast(z):
        z = precise(z)
        require_views(z, exactly=2)
        require_samples(z)
        u, v = (
            in_deviations(z)
            if unbiased
            else cast("tuple[Tensor, ...]", StandardizedViews.apply(z))[:2]
        )
        products, n = u.T @ v, len(u)
        diagonal = products.diagonal() / n
        off_diagonal = products.square().sum() / n**2 - diagonal.square().sum()
        return scale_loss * ((1 - diagonal).square().sum() + lamb * off_diagonal)


class StandardizedViews(Function):
    """Two views, each with mean 0 and variance 1 in every dimension, as BatchNorm has them.

    On a CPU it is BatchNorm's own function, unless a variance could overflow. The inverse
    deviations are an output so that the second derivative is right.
    """

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if z.device.type == "cpu":  # of others reading the largest would synchronize
            low, high = z.aminmax()
            if max(-float(low), float(high)) < LARGE:
                each = [
                    torch.native_batch_norm(x, None, None, None, None, True, 0.0, EPS) for x in z
                ]
                (u, v), means, inverse = zip(*each, strict=True)
                return u, v, torch.stack(inverse), torch.stack(means)
        factor = moderate_factor(z)
        z = z * factor
        variance, mean = torch.var_mean(z, dim=1, keepdim=True, correction=0)
        inverse = (variance + EPS * factor.square()).rsqrt()
        u, v = (z - mean) * inverse
        return u, v, (inverse * factor).squeeze(1), z.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(output[3])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Tensor | None:
        z, u, v, inverse, means = ctx.saved_tensors
        *given, g_inverse = grad_outputs[:3]
        means = means if len(means) else (None, None)
        of_views = zip(z, (u, v), inverse, means, given, strict=True)
        dz = torch.stack([StandardizedViews.pull(*of_view) for of_view in of_views])
        if g_inverse is None:
            return dz
        slope = -(g_inverse * inverse.square()).unsqueeze(1) / z.shape[1]
        return dz + slope * torch.stack([u, v])

    @staticmethod
    def pull(
        z: Tensor, u: Tensor, inverse: Tensor, mean: Tensor | None, g: Tensor | None
    ) -> Tensor:
        """The gradient of a view's embeddings, by that of what they are standardized to."""
        if g is None:
            return torch.zeros_like(u)
        if mean is not None and not torch.is_grad_enabled():
            given = g, z, None, None, None, mean, inverse, True, EPS, [True, False, False]
            return torch.ops.aten.native_batch_norm_backward(*given)[0]
        return inverse * (g - g.mean(dim=0) - u * (g * u).mean(dim=0))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_by_one(StandardizedViews, info, in_dims, *inputs)


def in_deviations(z: Float[Tensor, "2 n d"]) -> Float[Tensor, "2 n d"]:
    """Two views in units of each dimension's unbiased deviation plus epsilon."""
    factor = moderate_factor(z)
    z = z * factor
    variance, mean = torch.var_mean(z, dim=1, keepdim=True)
    # A root has no gradient at zero, the variance of a constant dimension.
    deviation = variance.clamp(min=torch.finfo(z.dtype).tiny).sqrt() + EPS * factor
    return (z - mean) / deviation


def moderate_factor(z: Float[Tensor, "2 n d"]) -> Float[Tensor, "2 1 d"]:
    """A factor of each dimension, so that no square of it overflows."""
    factor = safe_factor(z, dim=1)
    return factor.where((factor > 0) & (factor < 1), 1.0)


def negatives(views: int, samples: int) -> int:
    """None: dimensions are compared, not samples."""
    return 0
