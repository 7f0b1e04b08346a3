"""Noise-contrastive estimation (Gutmann and Hyvarinen 2012, JMLR 13, eq. 8): data against noise."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def nce(
    data: Float[Tensor, " n"],
    noise: Float[Tensor, " m"],
    *,
    nu: float = 1.0,
    counted: bool = False,
) -> Float[Tensor, ""]:
    r"""Logistic loss of telling data from noise by $\log p_{model} - \log p_{noise} - \log \nu$.

    Args:
        data: $\log p_{model} - \log p_{noise}$ of the data.
        noise: of the noise.
        nu: how many times more noise there is than data.
        counted: the paper's form: nu is m / n, and the noise's mean counts so often.

    Logits of zero: log 2 for the data and log 2 for the noise.

    >>> import torch
    >>> round(nce(torch.zeros(3), torch.zeros(3)).item(), 4)
    1.3863
    """
    nu = len(noise) / len(data) if counted else nu
    real = -F.logsigmoid(data - math.log(nu)).mean()
    made = -F.logsigmoid(math.log(nu) - noise).mean()
    return real + made * (nu if counted else 1.0)
