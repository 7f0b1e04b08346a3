"""Weighted k-nearest-neighbor classification (Wu et al. 2018, https://arxiv.org/abs/1805.01978)."""

from collections.abc import Iterable, Iterator
from itertools import product

from jaxtyping import Float
from torch import Tensor

from cl.bounds import Count, Positive
from cl.eval._result import EvalResult, Features, Labels, TestFeatures, TestLabels, score
from cl.eval._select import check_selectable, labeled, select_hyperparameters
from cl.knn import block_sizes, label_shares, nearest, votes

KNNCandidate = tuple[int, float]  # neighbors, temperature
MULTILABEL = True


def knn(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    k: tuple[Count, ...] = (20,),
    knn_temperature: tuple[Positive, ...] = (0.07,),
    seed: int = 0,
) -> EvalResult:
    """Each test image gets the class that its k nearest training images vote for.

    The votes are those of `cl.knn`.

    Args:
        train: features `(n d)` and labels `(n)`; those without a label (below 0) do not vote. Or
            labels `(n c)` where an image may be of several classes: then the score of a class is
            the share of the votes of neighbors that are of it.
        test: features `(m d)` and labels `(m)` or `(m c)`.
        classes: how many there are.
        k: number of neighbors; if several are given, the best on a held-out tenth of the training
            data is used
        knn_temperature: a neighbor's vote weighs exp(cosine / temperature); if several are given,
            the best on a held-out tenth of the training data is used
        seed: of the held-out part.

    Returns:
        Top-k accuracies, or mAP, see `score`.

    Raises:
        ValueError: there is something to select and no class with two samples to hold one out.
    """
    precondition(train[1], test[1], classes, k=k, knn_temperature=knn_temperature)
    train, test = labeled(train), labeled(test)
    candidates = list(product(k, knn_temperature))

    def scores(bank: Features, queries: Tensor) -> Iterator[tuple[KNNCandidate, Tensor]]:
        return predict_votes(bank, queries, classes, candidates)

    best, _ = select_hyperparameters(candidates, scores, train, seed, "--k, --knn_temperature")
    ((_, predicted),) = predict_votes(train, test[0], classes, [best])
    return score(
        predicted,
        test[1],
        chosen={"k": best[0], "temperature": best[1]} if len(candidates) > 1 else {},
        how={"k": min(best[0], len(train[0])), "temperature": best[1], "similarity": "cosine"},
    )


def precondition(
    train: Labels,
    test: TestLabels,
    classes: int,
    *,
    k: tuple[Count, ...],
    knn_temperature: tuple[Positive, ...],
) -> None:
    """Check by the labels of both parts that `knn` can be done.

    Raises:
        ValueError: with the reason.
    """
    check_selectable(len(k) * len(knn_temperature), train, "--k, --knn_temperature")


def predict_votes(
    bank: Features, queries: Float[Tensor, "m d"], classes: int, candidates: Iterable[KNNCandidate]
) -> Iterator[tuple[KNNCandidate, Float[Tensor, "m c"]]]:
    """Class scores of the queries for every candidate, from one search."""
    candidates = list(candidates)
    cosines, at = nearest(bank[0], queries, max(k for k, _ in candidates))
    for k, t in candidates:
        if bank[1].ndim == 2:
            yield (k, t), label_shares(cosines[:, :k], at[:, :k], bank[1], t)
        else:
            yield (k, t), votes(cosines[:, :k], bank[1][at[:, :k]], classes, t)


def working_memory(
    train: int,
    test: int,
    width: int,
    classes: int,
    *,
    k: tuple[Count, ...],
    knn_temperature: tuple[Positive, ...],
) -> int:
    """Bytes that `knn` takes beside the features: queries, blocks, neighbors, votes, held out.

    Args:
        train: training images.
        test: test images.
        width: dimensions of the features.
        classes: how many there are.
        k: the candidates.
        knn_temperature: likewise.
    """
    selects = len(k) * len(knn_temperature) > 1
    asked = max(test, train // 10) if selects else test
    rows, queries = block_sizes(train, width)
    blocks = 4 * rows * (3 * width + 4 * min(queries, asked))
    held_out = 4 * train * width * selects
    return blocks + held_out + 4 * asked * (2 * width + 8 * max(k) + 4 * classes)
