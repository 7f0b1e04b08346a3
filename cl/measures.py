"""Geometry of embeddings: do positives agree, do the rest spread, how many dimensions are used.

And whether the similarity of pairs ranks them as scores do.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cl.precision import precise, unit


def embedding_std(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Mean standard deviation of a coordinate of the normalized embeddings, times $\sqrt d$.

    1 for embeddings spread over the whole sphere, 0 for a collapse to one point (Chen and He 2020,
    https://arxiv.org/abs/2011.10566, section 4.1).

    >>> round(embedding_std(torch.eye(4)).item(), 3)
    1.0
    """
    z = unit(z)
    return z.std(dim=0).mean() * z.shape[-1] ** 0.5


def effective_rank(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""$\exp(-\sum_k p_k \log p_k)$, p the share of each singular value.

    The singular values are those of the centered embeddings. Roy and Vetterli 2007, "The
    effective rank: a measure of effective dimensionality".

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 3)
    1.0
    """
    z = precise(z)
    values = torch.linalg.svdvals(z - z.mean(dim=0))
    p = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(p).sum().exp()


def rankme(z: Float[Tensor, "n d"], *, eps: float = 1e-7) -> Float[Tensor, ""]:
    r"""$\exp(-\sum_k p_k \log p_k)$, p the share of each singular value plus an epsilon.

    Not centered, unlike `effective_rank` (Garrido et al. 2023, https://arxiv.org/abs/2210.02885,
    eq. 1 and 2).

    >>> round(rankme(torch.eye(4)).item(), 3)
    4.0
    """
    values = torch.linalg.svdvals(precise(z))
    p = values / values.sum().clamp(min=1e-12) + eps
    return torch.special.entr(p).sum().exp()


def wasserstein_uniformity(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Distance of the normalized embeddings' normal distribution from the uniform one's.

    $\sqrt{\lVert \mu \rVert^2 + 1 + \mathrm{tr}\,\Sigma - 2 d^{-1/2}\,\mathrm{tr}\,\Sigma^{1/2}}$
    with the biased covariance and d the embeddings' dimension (Fang et al. 2024,
    https://arxiv.org/abs/2403.00642, eq. 7). 0 is uniform, more is less so; unlike `uniformity` it
    sees dimensions that have collapsed.

    One point: mu has length 1 and the covariance is zero, so the root of 2.

    >>> round(wasserstein_uniformity(torch.ones(3, 2)).item(), 4)
    1.4142
    """
    z = unit(z)
    mean = z.mean(dim=0)
    deviations = torch.linalg.svdvals(z - mean) / len(z) ** 0.5  # of the covariance's directions
    squared = mean.square().sum() + 1 + deviations.square().sum()
    return (squared - 2 * deviations.sum() / z.shape[1] ** 0.5).clamp(min=0).sqrt()


def alignment(z: Float[Tensor, "v n d"], *, alpha: float = 2.0) -> Float[Tensor, ""]:
    r"""Mean of $\lVert z_1 - z_2 \rVert^\alpha$ over the normalized first two views.

    Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1.

    >>> alignment(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).item()
    2.0
    """
    z = unit(z)
    return (z[0] - z[1]).square().sum(dim=-1).pow(alpha / 2).mean()


def uniformity(z: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    r"""$\log \mathrm{mean}_{i<j} e^{-t \lVert z_i - z_j \rVert^2}$ of the normalized embeddings.

    0 for one point, lower is more uniform (Wang and Isola 2020, https://arxiv.org/abs/2005.10242).

    >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item()
    -8.0
    """
    z = unit(z)
    pairs = len(z) * (len(z) - 1) / 2
    return torch.pdist(z).square().mul(-t).logsumexp(dim=0) - math.log(pairs)


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Correlation of the ranks; equal values have the mean of theirs. NaN if all are equal.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])), 6)
    0.5
    """
    if not (np.ptp(a) and np.ptp(b)):
        return math.nan
    return float(np.corrcoef(mean_ranks(a), mean_ranks(b))[0, 1])


def mean_ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The rank of each value, from 1 on, of equal ones the mean.

    >>> mean_ranks(np.array([7.0, 5.0, 7.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[place]
