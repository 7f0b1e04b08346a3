"""From scores to numbers: accuracy with its interval, for each class, and who is taken for whom."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy.stats import binomtest
from torch import Tensor

from cl.nets.probe import hits


@dataclass(frozen=True)
class Found:
    """What an evaluation found.

    Args:
        numbers: by name; the first one is what the evaluation is quoted by.
        chosen: settings that were chosen on a held-out part of the training data.
        how: what else made the numbers, for the protocol card.
        confusion: `(c c)` counts, true classes down and given answers across.
    """

    numbers: dict[str, Any]
    chosen: dict[str, float] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)
    confusion: Int[Tensor, "c c"] | None = None


def judged(scores: Float[Tensor, "n c"], labels: Int[Tensor, " n"], **more: Any) -> Found:
    """Top-1, top-5 and top-10 (of so many classes at least) and the accuracy of every class.

    Args:
        scores: of the classes, the largest is the answer.
        labels: the right ones; samples with a label below 0 do not count.
        more: what else `Found` has.
    """
    scores, labels = scores.cpu(), labels.cpu()
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    n, classes = len(labels), scores.shape[1]
    if not n:
        raise ValueError("the part that is measured on has no labelled image")
    numbers: dict[str, Any] = {}
    for k in (1, 5, 10):
        if k == 1 or k < classes:
            right = int(hits(scores, labels, k))
            numbers |= {f"top{k}": right / n, f"top{k}_95": interval(right, n)}
    counts = confusion(scores.argmax(dim=1), labels, classes)
    shares = counts.diagonal() / counts.sum(dim=1)
    numbers["per_class"] = [None if s != s else s for s in shares.tolist()]
    return Found(numbers, confusion=counts, **more)


def interval(right: int, n: int) -> list[float]:
    """95 % confidence interval of a share (Wilson 1927), which has a width for 100 % too.

    >>> [round(bound, 3) for bound in interval(10, 10)]
    [0.722, 1.0]
    """
    found = binomtest(right, n).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]


def confusion(
    given: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: int
) -> Int[Tensor, "c c"]:
    """How often each class (down) was taken for each (across).

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return torch.bincount(labels * classes + given, minlength=classes**2).view(classes, classes)
