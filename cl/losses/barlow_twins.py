"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1 and 2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairs import ALL, Rows
from cl.precision import precise

EPS = 1e-5  # of the BatchNorm in the authors' code, added to the variances


def barlow_twins(
    z: Float[Tensor, "2 n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    lamb: float = 5e-3,  # the paper's section 3.1; 0.0051 in its code
    scale_loss: float = 1.0,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    r"""$\sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2$, C the views' cross-correlation.

    The correlation is over the whole batch, with the biased variance, in float32 at least. It has
    no negatives, so it needs no ids; every process computes the loss of the whole batch, whose
    gradient DDP's mean leaves as it is.

    Args:
        z: embeddings of two views of every sample of all processes.
        ids: no part in this loss.
        rows: no part in this loss.
        lamb: $\lambda$.
        scale_loss: the loss is times this (0.024 in the authors' code, for LARS).
        unbiased: divide by the unbiased deviation plus the epsilon, as in the paper's listing.

    One dimension, two samples at -1 and 1 in both views: C = 1 but for the epsilon, the loss is 0.

    >>> round(barlow_twins(torch.tensor([[[-1.0], [1.0]]] * 2)).item(), 6)
    0.0
    """
    with torch.autocast(z.device.type, enabled=False):
        z = precise(z)
        variance, mean = torch.var_mean(z, dim=1, keepdim=True, correction=int(unbiased))
        u, v = (z - mean) / (variance.sqrt() + EPS if unbiased else (variance + EPS).sqrt())
        c = u.T @ v / len(u)
        diagonal = c.diagonal()
        off = c.square().sum() - diagonal.square().sum()
        return scale_loss * ((1 - diagonal).square().sum() + lamb * off)
