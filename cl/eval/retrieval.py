"""Retrieval within the test part: Recall@k and mean average precision at R."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from cl.eval._result import EvalResult, Features, TestFeatures, interval
from cl.eval._select import labeled

NORMAL = 1.96  # standard errors, within which 95 % of a normal distribution lie
BLOCK = 1024  # queries at a time


def retrieval(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    dataset: str = "this data set",
) -> EvalResult:
    r"""Every test image is a query for the others of its class, by cosine; nothing is learned.

    Recall@k: the share of queries with one of its class among the k nearest. mAP@R (Musgrave et
    al. 2020, https://arxiv.org/abs/2003.08505, 3.2):
    $\frac{1}{R} \sum_{i \le R} P(i)\,[i\text{-th is of the class}]$, R the others of the class, P
    the precision of the first i. An image that is alone in its class is no query.

    Args:
        train: not used.
        test: features `(m d)` and labels `(m)`; samples without a label (below 0) are left out.
        classes: not used.
        dataset: its name, for error messages.

    Returns:
        `map_r`, `recall1`, `recall5` and `recall10` with 95 % intervals (that of `map_r` only where
        the queries differ).

    Raises:
        ValueError: no image has another one of its class, or all are of one class.
    """
    precondition(train[1], test[1], classes, dataset=dataset)
    h, labels = labeled(test)
    u = F.normalize(h.float(), dim=1)
    others = torch.bincount(labels)[labels] - 1
    most = int(others.max())
    recalls: dict[int, list[Tensor]] = {k: [] for k in (1, 5, 10) if k < len(u)}
    precisions = []
    for index in torch.arange(len(u), device=u.device).split(BLOCK):
        similar = u[index] @ u.T
        similar[torch.arange(len(index), device=u.device), index] = -torch.inf
        at = similar.topk(min(max(most, *recalls), len(u) - 1), dim=1).indices
        right = (labels[at] == labels[index, None]).double()
        asks = others[index] > 0
        for k, found in recalls.items():
            found.append(right[asks, :k].amax(dim=1))
        rank = torch.arange(1, right.shape[1] + 1, device=u.device)
        counted = right * (rank <= others[index, None])
        precision = (right.cumsum(dim=1) / rank * counted).sum(dim=1)
        precisions.append((precision / others[index].clamp(min=1))[asks])
    found = torch.cat(precisions)
    n, mean, error = (
        len(found),
        float(found.mean()),
        float(found.std(correction=0)) / len(found) ** 0.5,
    )
    span = [max(0.0, mean - NORMAL * error), min(1.0, mean + NORMAL * error)]
    numbers: dict[str, Any] = {"map_r": mean}
    if error:  # of queries that are all alike the normal interval has no width, and means nothing
        numbers["map_r_95"] = span
    for k, each in recalls.items():
        right = int(torch.cat(each).sum())
        numbers |= {f"recall{k}": right / n, f"recall{k}_95": interval(right, n)}
    return EvalResult(
        numbers, how={"similarity": "cosine", "queries": "each image of the test part"}
    )


def precondition(
    train: Int[Tensor, " n"], test: Int[Tensor, " m"], classes: int, *, dataset: str
) -> None:
    """Check by the labels of the test part that `retrieval` can be done.

    Raises:
        ValueError: with the reason.
    """
    counts = torch.bincount(test[test >= 0])
    if not (counts > 1).any():
        raise ValueError(
            f"--eval retrieval needs two test images of a class: in {dataset} each of the "
            f"{int(counts.sum())} is alone in its class."
        )
    if (counts > 0).sum() < 2:
        raise ValueError(
            f"--eval retrieval needs test images of two classes: those of {dataset} are all of "
            "one, so that whatever is found is right."
        )
