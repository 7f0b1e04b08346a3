"""InfoNCE between views (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._contrast import ALL, Rows, contrast


def info_nce(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # common in vision; the paper has none
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$ over the other views' j, the positive included.

    See `contrast` for the arguments and what happens without positives.

    Two samples at right angles whose two views agree, temperature 1: log(e + 1) - 1.

    >>> import torch
    >>> round(info_nce(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.3133
    """
    return contrast(z, ids, rows, temperature, pushed=lambda p: ~p.same_view)
