"""CLIP: two towers, one batch (Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, contrast


def clip(
    z: Float[Tensor, "2 n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.07,  # where the paper's starts to learn
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ii} + \log \sum_j e^{s_{ij}}$, from images to texts and from texts to images.

    With ids, pairs that say the same are positives of each other. See `contrast`.

    Two pairs at right angles whose sides agree, temperature 1: log(e + 1) - 1.

    >>> import torch
    >>> round(clip(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.3133
    """
    return contrast(z, ids, rows, temperature, lambda p: ~p.same_view)
