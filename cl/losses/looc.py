"""Leave-one-out contrast (Xiao et al. 2021, https://arxiv.org/abs/2008.05659, eq. 3): LooC."""

import torch
from jaxtyping import Float
from torch import Tensor

from cl.losses._pairwise import ALL, Rows
from cl.losses.mnrl import mnrl


def looc(
    z: Float[Tensor, "s v n d"],
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.2,  # MoCo v2's, which the paper builds on
) -> Float[Tensor, ""]:
    r"""Mean over spaces of $-s_{qp} + \log \sum_k e^{s_{qk}}$, a space's own positive p for each.

    The first space pulls a query to a view that shares nothing with it. Space i pulls it to the
    view that shares with it the i-th group of parameters, and pushes the other views of the same
    sample, in which that group is another: so it keeps what that group changes.

    Args:
        z: embeddings in each space; views: the queries, those that share nothing, then for every
            further space those that share its group. Views behind these are further queries of the
            first space (small crops).
        rows: the samples that are this process's queries.
        temperature: what similarities are divided by.

    Raises:
        ValueError: fewer views than spaces need.

    Two samples at right angles, two spaces, all views of a sample alike, temperature 1: the mean of
    log(e + 1) - 1 and, with two candidates of each sample, log(2 e + 2) - 1.

    >>> round(looc(torch.eye(2).expand(2, 3, 2, 2), temperature=1.0).item(), 4)
    0.6598
    """
    keys = len(z) + 1
    if z.shape[1] < keys:
        raise ValueError(f"{len(z)} spaces need {keys} views, not {z.shape[1]}")
    queries = [0, *range(keys, z.shape[1])]
    first = [mnrl(z[0, [q, 1]], None, rows, temperature=temperature) for q in queries]
    each = [torch.stack(first).mean()]
    for space in range(1, len(z)):
        own = space + 1
        others = [view for view in range(1, keys) if view != own]
        each.append(mnrl(z[space, [0, own, *others]], None, rows, temperature=temperature))
    return torch.stack(each).mean()
