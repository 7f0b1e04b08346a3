"""Losses of two views taken over more: all pairs of them, or global crops against all."""

from collections.abc import Callable
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairs import ALL, Rows


def over_pairs(
    loss: Callable[..., Tensor],
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    global_views: int | None = None,
) -> Float[Tensor, ""]:
    """Mean of a loss over the pairs of views.

    Args:
        loss: of `(2 n d)` embeddings, ids and rows.
        z: embeddings of all views, the global crops first.
        ids: see the loss.
        rows: see the loss.
        global_views: how many views are global crops; pairs of two local ones are left out (SwAV,
            https://arxiv.org/abs/2006.09882, section 3.2). By default all are.
    """
    of_global = len(z) if global_views is None else global_views
    pairs = [(v, w) for v, w in combinations(range(len(z)), 2) if v < of_global]
    return torch.stack([loss(z[[v, w]], ids, rows) for v, w in pairs]).mean()


def across(views: int, targets: int) -> list[tuple[int, int]]:
    """Pairs of a view and another view that is its target; targets are the first views.

    >>> across(3, 2)
    [(1, 0), (2, 0), (0, 1), (2, 1)]
    """
    return [(v, w) for w in range(targets) for v in range(views) if v != w]


def crossed(
    z: Float[Tensor, "v n d"], target: Float[Tensor, "g n d"] | None, *, symmetric: bool
) -> list[Float[Tensor, "2 n d"]]:
    """Pairs of an embedding and its target, of two different views.

    Args:
        z: embeddings of all views.
        target: embeddings that another encoder has of the first views; by default z itself.
        symmetric: the loss is the same both ways, so that without a target each pair counts once.
    """
    if target is None and symmetric:
        return [z[[v, w]] for v, w in combinations(range(len(z)), 2)]
    of = z if target is None else target
    return [torch.stack([z[v], of[w]]) for v, w in across(len(z), len(of))]
