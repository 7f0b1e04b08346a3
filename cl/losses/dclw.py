"""Weighted DCL (Yeh et al. 2022, https://arxiv.org/abs/2110.06848, eq. 7)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, mean_of, scene


def dclw(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,  # the paper's
    sigma: float = 0.5,  # the paper's, section 4.3
    symmetric: bool = False,
    through_weights: bool = False,
) -> Float[Tensor, ""]:
    r"""DCL with positives weighted by $w_i = 2 - e^{c_i/\sigma} / \mathrm{mean}_j e^{c_j/\sigma}$.

    $c_i$ is an anchor's cosine with its positive: a pair that agrees already is pulled less. The
    mean is over the whole batch of all processes. See `contrast` for the other arguments.

    Args:
        z: see `contrast`.
        ids: see `contrast`.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        sigma: how sharply the agreement counts.
        symmetric: every view has anchors; else only the first.
        through_weights: the weights get a gradient, as in the authors' code; the paper is silent.

    Two samples at right angles that agree in both views: all weights are 1, so log(1 + 1) - 1.

    >>> round(dclw(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    -0.3069
    """
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature, anchor_views=ALL if symmetric else slice(0, 1))
        agreement = s.everyone().positives()[0] / s.scale / sigma
        weights = 2 - len(z[0]) * agreement.softmax(dim=1)[:, rows]
        pull, positives = s.positives()
        weights = weights if through_weights else weights.detach()
        return mean_of(s.log_sum_exp(lambda p: ~p.same_id), weights * pull, positives)
