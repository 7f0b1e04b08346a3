"""Losses of two views applied to more than two: all pairs of views, or each view and a target."""

from collections.abc import Callable
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._defined import require_views
from cl.losses._pairs import ALL, Rows


def mean_over_view_pairs(
    loss: Callable[..., Tensor],
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    global_views: int | None = None,
) -> Float[Tensor, ""]:
    """Average a two-view loss over the unordered pairs of views.

    Args:
        loss: a function of `(2, n, d)` embeddings, ids and rows.
        z: embeddings of all views, the global crops first.
        ids: see `cl.losses`.
        rows: see `cl.losses`.
        global_views: how many views are global crops; pairs of two local crops are left out (SwAV,
            https://arxiv.org/abs/2006.09882, section 3.2). None: all views are global.

    Returns:
        The mean, a scalar.
    """
    require_views(z)
    targets = len(z) if global_views is None else global_views
    pairs = [(v, w) for v, w in combinations(range(len(z)), 2) if v < targets]
    return torch.stack([loss(z[v : w + 1 : w - v], ids, rows) for v, w in pairs]).mean()


def view_target_pairs(views: int, targets: int) -> list[tuple[int, int]]:
    """Index pairs (view, target), where a target is one of the first views and never the view.

    >>> view_target_pairs(3, 2)
    [(1, 0), (2, 0), (0, 1), (2, 1)]
    """
    return [(v, w) for w in range(targets) for v in range(views) if v != w]


def pairs_with_targets(
    z: Float[Tensor, "v n d"], target: Float[Tensor, "g n d"] | None, *, symmetric: bool
) -> list[Float[Tensor, "2 n d"]]:
    """Stack each view's embeddings with the target embeddings of another view.

    Args:
        z: embeddings of all views.
        target: embeddings of the first g views by a target encoder; None: z itself.
        symmetric: the loss does not change if its two views are swapped, so that without targets
            each unordered pair is enough.

    Returns:
        One tensor per pair: the view first, its target second.
    """
    require_views(z)
    if target is None and symmetric and len(z) == 2:
        return [z]
    if target is None and symmetric:
        return [z[v : w + 1 : w - v] for v, w in combinations(range(len(z)), 2)]
    targets = z if target is None else target
    return [torch.stack([z[v], targets[w]]) for v, w in view_target_pairs(len(z), len(targets))]
