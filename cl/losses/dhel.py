"""DHEL (Koromilas et al. 2024, https://arxiv.org/abs/2405.18045): push within a view."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._contrast import ALL, Rows, contrast


def dhel(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.3,  # the authors' code's range is 0.1 to 0.5
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_{j \ne i} e^{s_{ij}}$ over all views, j from i's own view.

    See `contrast` for the arguments and what happens without positives.

    Two samples at right angles whose two views agree, temperature 1: log(1) - 1.

    >>> import torch
    >>> round(dhel(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    -1.0
    """
    return contrast(z, ids, rows, temperature, pushed=lambda p: p.same_view & ~p.same_id)
