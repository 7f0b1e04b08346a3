"""Exact search: the k documents of the largest cosine to a query, over any number of processes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl import distributed
from cl.precision import FeaturesNotFiniteError, unit

BLOCK = 8192  # documents at a time
QUERIES = 1024  # queries at a time


def search(
    queries: Float[Tensor, "q d"],
    documents: Float[Tensor, "m d"],
    k: int,
    *,
    numbers: Int[Tensor, " m"] | None = None,
    itself: Int[Tensor, " q"] | None = None,
    block: int = BLOCK,
) -> tuple[Float[Tensor, "q r"], Int[Tensor, "q r"]]:
    r"""The k documents of the largest cosine to each query, among those of all processes.

    Equal scores are ordered as trec_eval orders them: the document with the larger identifier is
    the first, and scores are equal if they are in float32. Cosines are summed in float64 and then
    rounded, so that the cut of the documents into blocks and processes does not show. Memory:
    O(queries k + 1024 block).

    Args:
        queries: the same on every process.
        documents: this process's; it may have none.
        k: at least 1.
        numbers: of this process's documents, each once, 0 to $2^{31} - 1$, in the order of the
            documents' identifiers; by default their places, the first process's documents first.
        itself: the number of the document that each query is itself, below 0 where it is none; it
            is not found, or stands last where no others are left.
        block: how many documents are compared at a time.

    Returns:
        Cosines and numbers of the documents, the first first, r = min(k, all documents); the same
        on every process.

    Raises:
        FeaturesNotFiniteError: a feature is NaN or infinite.

    >>> search(torch.eye(2), torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0]]), 2)[1].tolist()
    [[0, 2], [2, 1]]
    """
    finite = queries.isfinite().all() & documents.isfinite().all()
    if distributed.all_reduce_sum((~finite).long()):  # all processes end, and none waits
        raise FeaturesNotFiniteError
    _, own = distributed.gather(documents[:, :0], dim=0)
    places = torch.arange(len(documents), device=documents.device) + (own.start or 0)
    known = places if numbers is None else numbers
    more = k + (itself is not None)
    parts = [top_keys(q, documents, known, more, block) for q in queries.split(QUERIES)]
    found, _ = distributed.gather(torch.cat(parts))
    scores, at = unpacked(found.topk(min(more, found.shape[1]), dim=1).values)
    if itself is not None:
        order = (at == itself[:, None]).int().argsort(dim=1, stable=True)[:, :k]
        scores, at = scores.gather(1, order), at.gather(1, order)
    return scores, at


def ordered(scores: Float[Tensor, "q m"], k: int) -> Int[Tensor, "q r"]:
    """Places of the k largest of some scores by the same rule, on this process alone.

    >>> ordered(torch.tensor([[0.5, 1.0, 0.5]]), 2).tolist()
    [[1, 2]]
    """
    keys = packed(scores.float(), torch.arange(scores.shape[1], device=scores.device))
    return unpacked(keys.topk(min(k, keys.shape[1]), dim=1).values)[1]


def top_keys(
    queries: Float[Tensor, "q d"],
    documents: Float[Tensor, "m d"],
    numbers: Int[Tensor, " m"],
    k: int,
    block: int,
) -> Int[Tensor, "q r"]:
    """Keys of the best of this process's documents; those of one block at a time compete."""
    q = unit(queries.double())
    best = numbers.new_empty(len(q), 0)
    for d, number in zip(documents.split(block), numbers.split(block), strict=True):
        keys = packed((q @ unit(d.double()).T).float(), number)
        best = torch.cat([best, keys.topk(min(k, len(d)), dim=1).values], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
    return best


def packed(scores: Float[Tensor, "q m"], numbers: Int[Tensor, " m"]) -> Int[Tensor, "q m"]:
    """One integer for score and number that is ordered by the score and then by the number.

    Bits of floats at least 0 are ordered as integers are; of negative ones the other way round.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0 becomes 0
    return (flipped(bits).long() << 32) + numbers


def unpacked(keys: Int[Tensor, "q r"]) -> tuple[Float[Tensor, "q r"], Int[Tensor, "q r"]]:
    """Scores and numbers of keys."""
    return flipped((keys >> 32).int()).view(torch.float32), keys & 0x7FFFFFFF


def flipped(bits: Int[Tensor, "q m"]) -> Int[Tensor, "q m"]:
    """Turn the order of the negative ones around; done twice it is undone."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
