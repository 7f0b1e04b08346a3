"""DHEL (Koromilas et al. 2024, https://arxiv.org/abs/2405.18045): push only within one's view."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, mean_of, scene


def dhel(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.3,  # the authors' code's range is 0.1 to 0.5
    symmetric: bool = True,
    both_energies: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$, j in the anchor's view and not its sample.

    Alignment and uniformity come apart: the positive is in no denominator, and no negative is
    another view. See `contrast` for the arguments and what happens without positives.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        symmetric: every view has anchors; else only the first.
        both_energies: the log-sums of all views are added to one pull, as in the authors' code;
            alignment then has half the weight.

    Two samples at right angles whose two views agree, temperature 1: log(1) - 1.

    >>> round(dhel(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    -1.0
    """
    with torch.autocast(z.device.type, enabled=False):
        anchors = ALL if symmetric or both_energies else slice(0, 1)
        s = scene(z, ids, rows, temperature, anchor_views=anchors)
        push = s.log_sum_exp(lambda p: p.same_view & ~p.same_id)
        return mean_of(push * len(z) if both_energies else push, *s.positives())
