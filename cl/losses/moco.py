"""InfoNCE among a queue of earlier embeddings, MoCo (He et al. 2020, 1911.05722, eq. 1)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_positive
from cl.precision import unit, without_autocast


def moco(
    q: Float[Tensor, "n d"],
    k: Float[Tensor, "n d"],
    queue: Float[Tensor, "m d"],
    *,
    temperature: Positive | Float[Tensor, ""] = 0.2,  # MoCo v2's
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{q k} + \log (e^{s_{q k}} + \sum_j e^{s_{q j}})$, j in the queue.

    The other samples of the batch are no negatives: a large queue takes the place of a large batch.
    Memory is O(n m).

    Args:
        q: queries: embeddings of one view of each sample, of any length.
        k: keys: the teacher's embeddings of another view of each sample; the caller detaches them.
        queue: the teacher's embeddings of earlier samples.
        temperature: what similarities are divided by.

    Returns:
        The mean over queries, a scalar.

    Source: equation 1; 0.2 is the temperature of MoCo v2 (https://arxiv.org/abs/2003.04297).

    A query that is its key, a queue at right angles to it, temperature 1: log(e + 1) - 1.

    >>> import torch
    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> round(moco(one, one, other, temperature=1.0).item(), 4)
    0.3133
    """
    require_positive(temperature=temperature)
    with without_autocast(q):
        q, k, queue = (unit(x) for x in (q, k, queue))
        positive = (q * k).sum(dim=1) / temperature
        negative = (q @ queue.T / temperature).logsumexp(dim=1)
        return mean(-F.logsigmoid(positive - negative))
