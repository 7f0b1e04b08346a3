"""Geometry of embeddings: do positives agree, do the rest spread, how many dimensions are used."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def embedding_std(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Mean standard deviation of a coordinate of the normalised embeddings, times $\sqrt d$.

    1 for embeddings spread over the whole sphere, 0 for a collapse to one point (Chen and He 2020,
    https://arxiv.org/abs/2011.10566, section 4.1).

    >>> round(embedding_std(torch.eye(4)).item(), 3)
    1.0
    """
    z = F.normalize(z.float(), dim=-1)
    return z.std(dim=0).mean() * z.shape[-1] ** 0.5


def effective_rank(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""$\exp(-\sum_k p_k \log p_k)$, p the share of each singular value.

    The singular values are those of the centred embeddings. Roy and Vetterli 2007, "The
    effective rank: a measure of effective dimensionality".

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 3)
    1.0
    """
    z = z.float()
    values = torch.linalg.svdvals(z - z.mean(dim=0))
    p = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(p).sum().exp()


def alignment(z: Float[Tensor, "v n d"], *, alpha: float = 2.0) -> Float[Tensor, ""]:
    r"""Mean of $\lVert z_1 - z_2 \rVert^\alpha$ over the normalised first two views.

    Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1.

    >>> alignment(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).item()
    2.0
    """
    z = F.normalize(z.float(), dim=-1)
    return (z[0] - z[1]).square().sum(dim=-1).pow(alpha / 2).mean()


def uniformity(z: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    r"""$\log \mathrm{mean}_{i<j} e^{-t \lVert z_i - z_j \rVert^2}$ of the normalised embeddings.

    0 for one point, lower is more uniform (Wang and Isola 2020, https://arxiv.org/abs/2005.10242).

    >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item()
    -8.0
    """
    z = F.normalize(z.float(), dim=-1)
    return torch.pdist(z).square().mul(-t).logsumexp(dim=0) - torch.log(
        torch.tensor(len(z) * (len(z) - 1) / 2, device=z.device)
    )
