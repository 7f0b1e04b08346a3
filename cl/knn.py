"""Weighted k-nearest-neighbor classification (Wu et al. 2018, https://arxiv.org/abs/1805.01978)."""

from math import isqrt

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl.precision import FeaturesNotFiniteError, precise

BANK = 2**25  # numbers of the bank that are compared at a time: 65,536 features of 512
ROWS = 65_536  # features of the bank, at most; fewer blocks have fewer neighbors to merge
SCORES = 2**24  # of a block, in one memory for all of them: 64 MiB
TILE = 2048  # features of one product on a CPU, whose scores its cache holds
SHARES = 2**22  # labels of neighbors that are counted at a time


def classify(
    bank: Float[Tensor, "m d"],
    classes: Int[Tensor, " m"],
    queries: Float[Tensor, "n d"],
    *,
    k: int = 20,
    temperature: float = 0.07,
    block: int | None = None,
) -> Int[Tensor, " n"]:
    r"""The class with the largest sum of $e^{\cos(q, b) / T}$ over the k nearest of the bank.

    Args:
        bank: features whose classes are known, of any length.
        queries: likewise of any length.
        k: 20, what solo-learn and lightly take for small sets (200 in the paper, for ImageNet).
        temperature: 0.07, the paper's.
        block: see `nearest`.

    Raises:
        FeaturesNotFiniteError: a feature is NaN or infinite.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    >>> queries = torch.tensor([[1.0, 0.2], [0.5, 1.0]])
    >>> classify(bank, torch.tensor([0, 1, 1]), queries, k=2).tolist()
    [0, 1]
    """
    if not (bank.isfinite().all() and queries.isfinite().all()):
        raise FeaturesNotFiniteError
    if not len(bank):
        return torch.full((len(queries),), -1, device=queries.device)
    near, at = nearest(bank, queries, k, block)
    return votes(near, classes[at], int(classes.max()) + 1, temperature).argmax(dim=1)


@torch.no_grad()
def nearest(
    bank: Float[Tensor, "m d"], queries: Float[Tensor, "n d"], k: int, block: int | None = None
) -> tuple[Float[Tensor, "n r"], Int[Tensor, "n r"]]:
    """Cosines and places of the k nearest of the bank, r = min(k, m) of them, the nearest first.

    The bank is read once, a block at a time, so that it may be larger than the memory. Beside the
    queries, normalized, there is memory for blocks and for O(n k) numbers. There is no gradient.

    Args:
        bank: features of any length and floating dtype.
        queries: likewise.
        k: at least 1.
        block: queries that are compared with a block of the bank at a time; by default as many as
            fit into `SCORES`.

    >>> nearest(torch.eye(3), torch.tensor([[0.0, 1.0, 2.0]]), 2)[1].tolist()
    [[2, 1]]
    """
    rows, block = block_sizes(len(bank), bank.shape[1], block)
    u = F.normalize(precise(queries), dim=1)
    memory = u.new_empty(rows * min(block, len(u)))
    best: list[tuple[Tensor, Tensor]] = []
    for first in range(0, max(1, len(bank)), rows):
        b = F.normalize(precise(bank[first : first + rows]), dim=1)
        for i, q in enumerate(u.split(block)):
            near, at = nearest_of_block(b, q, k, memory)
            if first == 0:
                best.append((near, at))
                continue
            both = torch.cat([best[i][0], near], dim=1)
            places = torch.cat([best[i][1], at + first], dim=1)
            near, at = both.topk(min(k, both.shape[1]), dim=1)
            best[i] = near, places.gather(1, at)
    near, at = zip(*best, strict=True)
    return torch.cat(near), torch.cat(at)


def block_sizes(m: int, d: int, queries: int | None = None) -> tuple[int, int]:
    """How many of m features of d dimensions are compared at a time, and with how many queries.

    >>> block_sizes(1_000_000, 512), block_sizes(1_000_000, 2048), block_sizes(5000, 128, 8)
    ((65536, 256), (16384, 1024), (5000, 8))
    """
    rows = max(1, min(m, ROWS, BANK // max(1, d)))
    return rows, queries or max(1, SCORES // rows)


def nearest_of_block(
    bank: Float[Tensor, "m d"],
    queries: Float[Tensor, "q d"],
    k: int,
    memory: Float[Tensor, " s"],
) -> tuple[Float[Tensor, "q r"], Int[Tensor, "q r"]]:
    """`nearest` of unit vectors, with all scores in a memory of at least m q numbers.

    Of groups with s neighboring members the k with the largest maxima hold k of the largest: so m /
    s maxima and k s members are searched. A member, which is gathered, takes about three times as
    long, so s is the root of m / 3 k. The maxima are taken while the cache still has the scores.
    """
    m, q = len(bank), len(queries)
    scores = memory[: m * q].view(m, q)
    members = max(1, isqrt(m // (3 * k)))
    tile = TILE // members * members if bank.device.type == "cpu" else max(1, m)
    maxima = []
    for part, out in zip(bank.split(tile), scores.split(tile), strict=True):
        torch.mm(part, queries.T, out=out)
        whole = out[: len(out) // members * members]
        maxima.append(rearrange(whole, "(g s) q -> g s q", s=members).amax(dim=1))
    of_groups = torch.cat(maxima).T
    if members == 1:  # nothing is won by groups
        return of_groups.topk(min(k, m), dim=1)
    top = rearrange(of_groups.topk(k, dim=1, sorted=False).indices, "q k -> q k 1") * members
    places = rearrange(top + torch.arange(members, device=bank.device), "q k s -> q (k s)")
    rest = torch.arange(of_groups.shape[1] * members, m, device=bank.device)
    places = torch.cat([places, rest.expand(q, -1)], dim=1)
    near, at = scores.gather(0, places.T).T.topk(k, dim=1)
    return near, places.gather(1, at)


def label_shares(
    near: Float[Tensor, "q k"],
    at: Int[Tensor, "q k"],
    labels: Int[Tensor, "m c"],
    temperature: float,
) -> Float[Tensor, "q c"]:
    """Of each class the share of the votes that come from neighbors of it, in 0 to 1.

    Args:
        near: cosines of the neighbors.
        at: their places in the bank.
        labels: of the bank, 1 for each class that a sample is of.
        temperature: see `classify`.

    >>> label_shares(torch.zeros(1, 2), torch.tensor([[0, 1]]), torch.tensor([[1, 1], [0, 1]]), 1.0)
    tensor([[0.5000, 1.0000]])
    """
    weight = (near / temperature).softmax(dim=1)
    block = max(1, SHARES // max(1, at.shape[1] * labels.shape[1]))
    parts = zip(weight.split(block), at.split(block), strict=True)
    return torch.cat([torch.einsum("qk,qkc->qc", w, labels[i].to(w.dtype)) for w, i in parts])


def votes(
    near: Float[Tensor, "b k"], classes: Int[Tensor, "b k"], number: int, temperature: float
) -> Float[Tensor, "b c"]:
    """What the neighbors, the nearest first, say for each of so many classes.

    The nearest one's vote is 1: a common factor, without which all underflow at a low temperature.
    """
    said = near.new_zeros(len(near), number)
    return said.scatter_add_(1, classes, ((near - near[:, :1]) / temperature).exp())
