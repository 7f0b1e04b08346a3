"""Noise-contrastive estimation (Gutmann and Hyvarinen 2012, JMLR 13, eq. 8): data against noise."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_positive


def nce(
    data: Float[Tensor, " n"],
    noise: Float[Tensor, " m"],
    *,
    nu: Positive = 1.0,
    counted: bool = False,
) -> Float[Tensor, ""]:
    r"""Logistic loss of telling data from noise by $\log p_{model} - \log p_{noise} - \log \nu$.

    Use it to fit an unnormalized model, whose normalizing constant is learned like a parameter.

    Args:
        data: `(n,)` $\log p_{model} - \log p_{noise}$ of the data.
        noise: `(m,)` the same of the noise.
        nu: how many noise samples there are for each of the data; it shifts the logits. Other than
            1, this is the paper's form only if `counted`.
        counted: the paper's form: nu is m / n, and the noise's mean is multiplied by it.

    Returns:
        The mean over data plus the mean over noise, a scalar.

    Example:
        Logits of zero: log 2 for the data and log 2 for the noise.

        >>> import torch
        >>> round(nce(torch.zeros(3), torch.zeros(3)).item(), 4)
        1.3863

        Equivalent, for nu = 1, to:

        >>> data, noise = torch.randn(4), torch.randn(4)
        >>> targets = torch.cat([torch.ones(4), torch.zeros(4)])
        >>> naive = 2 * F.binary_cross_entropy_with_logits(torch.cat([data, noise]), targets)
        >>> torch.testing.assert_close(nce(data, noise), naive)
    """
    nu = len(noise) / len(data) if counted else nu
    require_positive(nu=nu)
    of_data = mean(-F.logsigmoid(data - math.log(nu)))
    of_noise = mean(-F.logsigmoid(math.log(nu) - noise))
    return of_data + of_noise * (nu if counted else 1.0)
