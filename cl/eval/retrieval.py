"""Retrieval: of images within the test part, of texts in a corpus."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl import distributed
from cl.eval._result import EvalResult, Features, TestFeatures, interval
from cl.eval._select import labeled
from cl.ranking import average_precision, grades_of, mrr_at, ndcg_at, precision_at, recall_at
from cl.search import search

NORMAL = 1.96  # standard errors, within which 95 % of a normal distribution lie
BLOCK = 1024  # queries at a time
DEPTH = 100  # documents that are found for a text


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


def of_texts(
    queries: Float[Tensor, "q d"],
    documents: Float[Tensor, "m d"],
    judgments: Int[Tensor, "j 3"],
) -> EvalResult:
    """Each query is searched in the whole corpus by cosine, exactly; nothing is learned.

    Args:
        queries: the features of all queries, on every process.
        documents: those of the corpus, of which each process searches its part.
        judgments: query, document and grade of each; a document of a grade above 0 is relevant, and
            a query without a relevant document does not count.

    Returns:
        `ndcg10` with the grade as the gain, `mrr10`, `recall10`, `recall100`, `precision10` and
        `map100`, MAP of the first 100, means over the queries, as trec_eval defines them.
    """
    rank, world = distributed.rank(), distributed.world_size()
    first, last = (len(documents) * at // world for at in (rank, rank + 1))
    own = torch.arange(first, last, device=documents.device)
    _, found = search(queries, documents[first:last], DEPTH, numbers=own)
    ranked, known = grades_of(found, *judgments.unbind(dim=1))
    counts = (known > 0).any(dim=1)
    scores = {
        "ndcg10": ndcg_at(ranked, known, 10),
        "mrr10": mrr_at(ranked, known, 10),
        "recall10": recall_at(ranked, known, 10),
        "recall100": recall_at(ranked, known, DEPTH),
        "precision10": precision_at(ranked, known, 10),
        "map100": average_precision(ranked, known),
    }
    numbers = {name: float(each[counts].mean()) for name, each in scores.items()}
    how = {"similarity": "cosine", "queries": int(counts.sum()), "documents": len(documents)}
    return EvalResult(numbers, how=how)


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
