"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906, eq. 1 to 6)."""

from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairs import ALL, Rows
from cl.precision import precise

EPS = 1e-4  # the paper's, under the root


def vicreg(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    variance_sum: bool = False,
) -> Float[Tensor, ""]:
    r"""Views close, every dimension alive, no two dimensions alike.

    $\lambda\,mse + \mu\,\mathrm{mean}_k (1 - \sigma_k)_+ + \nu \sum_{k \ne l} C_{kl}^2 / d$
    with the unbiased variance and covariance of the whole batch, in float32 at least. Embeddings
    are not normalised. Every process computes the loss of the whole batch, whose gradient DDP's
    mean leaves as it is. More than two views: the mean over the pairs of views.

    Args:
        z: embeddings of every view of every sample of all processes.
        ids: no part in this loss.
        rows: no part in this loss.
        invariance: weight of the views' distance (lambda in the paper, section 4.2).
        variance: weight of the hinge (mu), of the mean over two views as in the authors' code.
        covariance: weight of the covariances (nu), of the sum over two views.
        variance_sum: take the sum over the two views for the variance too (solo-learn's form).

    Two samples, one dimension, views that agree at -1 and 1: spread enough, the loss is 0.

    >>> vicreg(torch.tensor([[[-1.0], [1.0]]] * 2)).item()
    0.0
    """
    with torch.autocast(z.device.type, enabled=False):
        z = precise(z)
        v, n, d = z.shape
        pairs = list(combinations(range(v), 2))
        close = torch.stack([F.mse_loss(z[i], z[j]) for i, j in pairs]).mean()
        centred = z - z.mean(dim=1, keepdim=True)
        var = centred.square().sum(dim=1) / (n - 1)
        hinge = F.relu(1 - (var + EPS).sqrt()).mean()
        # The squares of the covariances and of the samples' Gram matrix have the same sum.
        gram = centred @ centred.mT if n < d else centred.mT @ centred
        off = (gram / (n - 1)).square().sum() - var.square().sum()
        spread = variance * hinge * (2 if variance_sum else 1)
        return invariance * close + spread + covariance * 2 * off / (v * d)
