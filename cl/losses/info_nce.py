"""InfoNCE between views (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, contrast


def info_nce(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # MoCo v1's 0.07 to SimCLR's 0.5
    symmetric: bool = True,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$, j in another view, the positive included.

    See `contrast` for the arguments and what happens without positives.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        symmetric: every view has anchors; else only the first, as in the paper.

    Two samples at right angles whose two views agree, temperature 1: log(e + 1) - 1.

    >>> import torch
    >>> round(info_nce(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.3133
    """
    first = {} if symmetric else {"anchor_views": slice(0, 1), "candidate_views": slice(1, None)}
    return contrast(z, ids, rows, temperature, lambda p: ~p.same_view, **first)
