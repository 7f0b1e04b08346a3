"""Leave-one-out contrast (Xiao et al. 2021, https://arxiv.org/abs/2008.05659): LooC."""

import torch
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Positive
from cl.losses._pairwise import ALL, Rows
from cl.losses.mnrl import mnrl


def looc(
    z: Float[Tensor, "s v n d"],
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.2,  # MoCo v2's, which the paper builds on
) -> Float[Tensor, ""]:
    r"""Mean over embedding spaces of $-s_{qp} + \log \sum_k e^{s_{qk}}$, each with its positive p.

    In the first space the positive is a view that shares no augmentation with the query. In space
    i it is the view that shares the i-th group of augmentation parameters, and the sample's other
    views, in which that group differs, are negatives: so the space keeps what the group changes.
    Use it where some augmentation destroys what the labels depend on, such as color for birds.

    Args:
        z: `(s, v, n, d)` embeddings in s spaces. Views: the queries, those that share nothing, and
            for every further space those that share its group. Any more views are further queries
            of the first space (local crops).
        rows: the slice of samples that are this process's queries.
        temperature: divides the cosines.

    Returns:
        The mean over spaces and local queries, a scalar.

    Raises:
        ValueError: there are fewer views than spaces need.

    Example:
        Two samples at right angles, two spaces, all views of a sample alike, temperature 1: the
        mean of log(e + 1) - 1 and, with two candidates of each sample, log(2 e + 2) - 1.

        >>> round(looc(torch.eye(2).expand(2, 3, 2, 2), temperature=1.0).item(), 4)
        0.6598

        Equivalent, for one space and two views, to:

        >>> u, v = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> naive = torch.nn.functional.cross_entropy(u @ v.T / 0.2, torch.arange(4))
        >>> torch.testing.assert_close(looc(torch.stack([u, v])[None]), naive)
    """
    keys = len(z) + 1
    if z.shape[1] < keys:
        raise ValueError(f"{len(z)} spaces need {keys} views, not {z.shape[1]}")
    queries = [0, *range(keys, z.shape[1])]
    pairs = [torch.stack([z[0, q], z[0, 1]]) if q else z[0, :2] for q in queries]
    first = [mnrl(pair, None, rows, temperature=temperature) for pair in pairs]
    losses = [torch.stack(first).mean()]
    for space in range(1, len(z)):
        positive = space + 1
        others = [view for view in range(1, keys) if view != positive]
        sides = torch.stack([z[space, view] for view in (0, positive, *others)])
        losses.append(mnrl(sides, None, rows, temperature=temperature))
    return torch.stack(losses).mean()


def negatives(views: int, samples: int) -> int:
    """The keys of other samples in the first space; further spaces have more per sample."""
    return samples - 1
