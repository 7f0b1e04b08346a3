"""CoSENT (Su 2022, https://kexue.fm/archives/8847): rank pairs by their cosine."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.losses._ranked import ranked
from cl.precision import precise


def cosent(
    z: Float[Tensor, "2 n d"],
    scores: Float[Tensor, " n"],
    *,
    scale: float = 20.0,  # the author's
) -> Float[Tensor, ""]:
    r"""$\log(1 + \sum_{y_i < y_j} e^{scale (\cos_i - \cos_j)})$ over n pairs.

    Args:
        z: both sides of the pairs of all processes, of any length.
        scores: how alike the two are; only the order counts.
        scale: the inverse temperature.

    Two pairs, the alike one at right angles, the other parallel, scale 1: log(1 + e).

    >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    >>> round(cosent(z, torch.tensor([1.0, 0.0]), scale=1.0).item(), 4)
    1.3133
    """
    with torch.autocast(z.device.type, enabled=False):
        u, v = F.normalize(precise(z), dim=-1)
        return ranked((u * v).sum(dim=-1), scores, scale)
