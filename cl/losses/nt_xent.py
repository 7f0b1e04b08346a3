"""NT-Xent, SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709, eq. 1)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, contrast


def nt_xent(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.2,  # ImageNet-100's recipes
    global_views: int | None = None,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_{j \ne i} e^{s_{ij}}$ over all views.

    With class ids it is SupCon's $L_{out}$ (Khosla et al. 2020, eq. 2). SimCLR's own code gives
    twice this. See `contrast` for the arguments and what happens without positives.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        global_views: only so many first views, the large crops, are compared with; by default all.

    Two samples at right angles whose two views agree, temperature 1: log(e + 2) - 1.

    >>> import torch
    >>> round(nt_xent(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.5514
    """
    compared = slice(0, global_views)
    return contrast(z, ids, rows, temperature, lambda p: ~p.itself, candidate_views=compared)
