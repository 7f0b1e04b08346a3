"""Retrieval: of images within the test part, of texts in a corpus, of captions and images."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl import distributed
from cl.eval._result import EvalResult, Features, TestFeatures, interval, normal
from cl.eval._select import labeled
from cl.ranking import average_precision, grades_of, mrr_at, ndcg_at, precision_at, recall_at
from cl.search import search

NUMBERS = ("map_r", "recall1", "recall5", "recall10")
NUMBERS_OF_TEXTS = ("ndcg10", "mrr10", "recall10", "recall100", "precision10", "map100")
NUMBERS_OF_CAPTIONS = (
    "recall1_t2i",
    "recall5_t2i",
    "recall10_t2i",
    "recall1_i2t",
    "recall5_i2t",
    "recall10_i2t",
)
BLOCK = 1024  # queries at a time
DEPTH = 100  # documents that are found for a text
RECALLS = (1, 5, 10)  # of images and captions
RESAMPLES = 1000


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
    recalls: dict[int, list[Tensor]] = {k: [] for k in RECALLS if k < len(u)}
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
    numbers: dict[str, Any] = {"map_r": mean}
    if error:  # of queries that are all alike the normal interval has no width, and means nothing
        numbers["map_r_95"] = normal(mean, error)
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
    itself: Int[Tensor, " q"] | None = None,
) -> EvalResult:
    """Each query is searched in the whole corpus by cosine, exactly; nothing is learned.

    Args:
        queries: the features of all queries, on every process.
        documents: those of the corpus, of which each process searches its part.
        judgments: query, document and grade of each; a document of a grade above 0 is relevant, and
            a query without a relevant document does not count.
        itself: the document that each query is itself, which is not found, see `search`.

    Returns:
        `ndcg10` with the grade as the gain, `mrr10`, `recall10`, `recall100`, `precision10` and
        `map100`, MAP of the first 100, means over the queries, as trec_eval defines them.
    """
    rank, world = distributed.rank(), distributed.world_size()
    first, last = (len(documents) * at // world for at in (rank, rank + 1))
    own = torch.arange(first, last, device=documents.device)
    _, found = search(queries, documents[first:last], DEPTH, numbers=own, itself=itself)
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


def of_captions(
    captions: Float[Tensor, "q d"], images: Float[Tensor, "m d"], image_of: Int[Tensor, " q"]
) -> EvalResult:
    """Captions are searched for an image and images for a caption, by cosine, exactly.

    Recall@k is as it is reported of images and captions: the share of the queries that have one of
    theirs among the first k, so that one of five captions is enough.

    Args:
        captions: the features of all of them, on every process.
        images: those of all images, on every process.
        image_of: the image of each caption.

    Returns:
        `recall1_t2i`, `recall5_t2i` and `recall10_t2i` from captions to images, and `_i2t` from
        images to captions. Their 95 % intervals are Wilson's from images; from captions the 2.5 and
        97.5 percentiles of 1,000 resamples of the images, since captions of one image are found
        together, and there is none where all are alike.
    """
    numbers: dict[str, Any] = {}
    shares = found_first(
        captions, images, torch.arange(len(images), device=images.device), image_of
    )
    for k, right in shares.items():
        numbers[f"recall{k}_t2i"] = float(right.mean())
        if len({*right.tolist()}) > 1:
            numbers[f"recall{k}_t2i_95"] = resampled(right, image_of, len(images))
    own = torch.arange(len(images), device=images.device)
    for k, right in found_first(images, captions, image_of, own).items():
        numbers[f"recall{k}_i2t"] = float(right.mean())
        numbers[f"recall{k}_i2t_95"] = interval(int(right.sum()), len(right))
    how = {"similarity": "cosine", "sentences": len(captions), "images": len(images)}
    return EvalResult(numbers, how=how)


def found_first(
    queries: Float[Tensor, "q d"],
    documents: Float[Tensor, "m d"],
    image_of: Int[Tensor, " m"],
    wanted: Int[Tensor, " q"],
) -> dict[int, Float[Tensor, " q"]]:
    """For each k, 1 for a query that has a document of its image among the first k, else 0.

    Args:
        queries: the features of all of them, on every process.
        documents: likewise; each process searches its part of them.
        image_of: the image of each document.
        wanted: that of each query.
    """
    rank, world = distributed.rank(), distributed.world_size()
    first, last = (len(documents) * at // world for at in (rank, rank + 1))
    own = torch.arange(first, last, device=documents.device)
    _, found = search(queries, documents[first:last], max(RECALLS), numbers=own)
    right = (image_of[found] == wanted[:, None]).double()
    return {k: right[:, :k].amax(dim=1) for k in RECALLS}


def resampled(right: Float[Tensor, " q"], image_of: Int[Tensor, " q"], images: int) -> list[float]:
    """95 % bootstrap interval of the share of captions that are right; images are resampled."""
    found = np.bincount(image_of.cpu(), right.cpu(), minlength=images)
    counts = np.bincount(image_of.cpu(), minlength=images)
    times = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), RESAMPLES)
    return [float(bound) for bound in np.percentile(times @ found / (times @ counts), (2.5, 97.5))]


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


def working_memory(train: int, test: int, width: int, classes: int) -> int:
    """Bytes that `retrieval` takes beside the features: normalized, and a block of similarities.

    Args:
        train: not used.
        test: test images; at most so many are of a class.
        width: dimensions of the features.
        classes: not used.
    """
    return 4 * (2 * test * width + 10 * min(BLOCK, test) * test)
