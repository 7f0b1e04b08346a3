"""Retrieval within the test part: Recall@k and mean average precision at R."""

from typing import Any

import torch
import torch.nn.functional as F
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
        `map_r`, `recall1`, `recall5` and `recall10` with 95 % intervals.

    Raises:
        ValueError: no image has another one of its class.
    """
    h, labels = labeled(test)
    u = F.normalize(h.float(), dim=1)
    others = torch.bincount(labels)[labels] - 1
    if not (others > 0).any():
        raise ValueError(
            f"--eval retrieval needs two test images of a class: in {dataset} each of the "
            f"{len(labels)} is alone in its class."
        )
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
    numbers: dict[str, Any] = {"map_r": mean, "map_r_95": span}
    for k, each in recalls.items():
        right = int(torch.cat(each).sum())
        numbers |= {f"recall{k}": right / n, f"recall{k}_95": interval(right, n)}
    return EvalResult(
        numbers, how={"similarity": "cosine", "queries": "each image of the test part"}
    )
