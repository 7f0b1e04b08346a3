"""SimSiam's negative cosine (Chen and He 2020, https://arxiv.org/abs/2011.10566, eq. 1 and 2)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def cosine(p: Float[Tensor, "v n d"], z: Float[Tensor, "v n d"]) -> Float[Tensor, ""]:
    r"""Mean over views and samples of $-\cos(p_{vi}, z_{vi})$, in float32 at least.

    Args:
        p: predictions.
        z: what each of them should predict; the caller cuts its gradient.

    >>> import torch
    >>> cosine(torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[3.0, 0.0]]])).item()
    -1.0
    """
    p, z = (F.normalize(x.double() if x.dtype.itemsize == 8 else x.float(), dim=-1) for x in (p, z))
    return -(p * z).sum(dim=-1).mean()
