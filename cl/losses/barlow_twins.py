"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1 and 2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import NonNegative, Positive
from cl.losses._defined import require_samples, require_views
from cl.losses._pairs import ALL, Rows
from cl.precision import precise, safe_factor, without_autocast

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
        factor = safe_factor(z, dim=1)
        factor = factor.where((factor > 0) & (factor < 1), 1.0)  # so that no square overflows
        z = z * factor
        variance, mean = torch.var_mean(z, dim=1, keepdim=True, correction=int(unbiased))
        if unbiased:  # a root has no gradient at zero, the variance of a constant dimension
            deviation = variance.clamp(min=torch.finfo(z.dtype).tiny).sqrt() + EPS * factor
        else:
            deviation = (variance + EPS * factor.square()).sqrt()
        u, v = (z - mean) / deviation
        c = u.T @ v / len(u)
        diagonal = c.diagonal()
        off_diagonal = c.square().sum() - diagonal.square().sum()
        return scale_loss * ((1 - diagonal).square().sum() + lamb * off_diagonal)


def negatives(views: int, samples: int) -> int:
    """None: dimensions are compared, not samples."""
    return 0
