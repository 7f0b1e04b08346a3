"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906, eq. 1 to 6)."""

from itertools import combinations
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.autograd import Function
from cl.bounds import NonNegative
from cl.losses._defined import require_samples, require_views
from cl.losses._pairs import ALL, Rows
from cl.precision import precise, without_autocast

EPS = 1e-4  # the paper's, under the root
# Of methods that bring no optimizer: SGD at a rate for normalized embeddings diverges.
DEFAULTS = {"optimizer": "adamw", "lr": 1e-3}


def vicreg(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    invariance: NonNegative = 25.0,
    variance: NonNegative = 25.0,
    covariance: NonNegative = 1.0,
    variance_sum: bool = False,
) -> Float[Tensor, ""]:
    r"""$\lambda\,mse + \mu\,\mathrm{mean}_k (1 - \sigma_k)_+ + \nu \sum_{k \ne l} C_{kl}^2 / d$.

    Three terms: views are close, every dimension varies, no two dimensions covary. Variance and
    covariance are unbiased, of the whole batch, in float32 at least; embeddings are not normalized.
    Every process computes the loss of the whole batch, whose gradient DDP's average leaves as it
    is. Use it without negatives; unlike Barlow Twins it never standardizes the embeddings.

    Args:
        z: `(v, n, d)` embeddings of every view of every sample of all processes; of more than two
            views the loss is the mean over their pairs.
        ids: have no effect.
        rows: have no effect.
        invariance: weight of the squared distance of the views (lambda in the paper, section 4.2).
        variance: weight of the hinge on standard deviations (mu), averaged over two views as in
            the authors' code.
        covariance: weight of the squared covariances (nu), summed over two views.
        variance_sum: sum the hinge over the two views instead (solo-learn's form).

    Returns:
        The loss of the whole batch, a scalar.

    Example:
        Two samples, one dimension, views that agree at -1 and 1: spread enough, the loss is 0.

        >>> vicreg(torch.tensor([[[-1.0], [1.0]]] * 2)).item()
        0.0

        Equivalent, for two views, to:

        >>> z = torch.randn(2, 4, 8)
        >>> hinge = F.relu(1 - (z.var(1) + 1e-4).sqrt()).mean()
        >>> covariances = sum(torch.cov(x.T).fill_diagonal_(0).square().sum() / 8 for x in z)
        >>> naive = 25 * F.mse_loss(*z) + 25 * hinge + covariances
        >>> torch.testing.assert_close(vicreg(z), naive)
    """
    with without_autocast(z):
        z = precise(z)
        require_views(z)
        require_samples(z)
        v, n, d = z.shape
        pairs = list(combinations(range(v), 2))
        distance = torch.stack([F.mse_loss(z[i], z[j]) for i, j in pairs]).mean()
        centered = z - z.mean(dim=1, keepdim=True)
        var = centered.square().sum(dim=1) / (n - 1)
        hinge = F.relu(1 - (var + EPS).sqrt()).mean() * (2 if variance_sum else 1)
        squares = cast("tuple[Tensor, Tensor]", SquaredCovariances.apply(centered))[0]
        off_diagonal = squares - var.square().sum()
        spread = variance * hinge
        return invariance * distance + spread + covariance * 2 * off_diagonal / (v * d)


class SquaredCovariances(Function):
    """The sum of the squares of all covariances of centered samples, and a matrix for its gradient.

    Covariances and the samples' products have the same Frobenius norm: the smaller matrix is taken.
    It is symmetric, so that the gradient is one product.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        matrix = gram(x)
        return matrix.square().sum(), matrix

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        x, matrix = ctx.saved_tensors
        matrix = gram(x) if torch.is_grad_enabled() else matrix  # it is differentiated again
        product = matrix @ x if x.shape[1] < x.shape[2] else x @ matrix
        return product * (grad_outputs[0] * 4 / (x.shape[1] - 1))


def gram(x: Float[Tensor, "v n d"]) -> Float[Tensor, "v m m"]:
    """Products of samples over their number minus 1, or those of dimensions, if these are fewer."""
    n, d = x.shape[1:]
    product = x @ x.mT if n < d else x.mT @ x
    return product / (n - 1)


def negatives(views: int, samples: int) -> int:
    """None: dimensions are compared, not samples."""
    return 0
