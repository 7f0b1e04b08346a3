"""DCL (Yeh et al. 2022, https://arxiv.org/abs/2110.06848, eq. 6): no positive is pushed."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, contrast


def dcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # the paper's
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_{j: id_j \ne id_i} e^{s_{ij}}$ for the first view's i.

    See `contrast` for the arguments and what happens without positives.

    Two samples at right angles whose two views agree, temperature 1: log(1 + 1) - 1.

    >>> import torch
    >>> round(dcl(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    -0.3069
    """
    return contrast(
        z,
        ids,
        rows,
        temperature,
        pushed=lambda p: ~p.same_id,
        anchor_views=slice(0, 1),
    )
