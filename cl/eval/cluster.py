"""K-means clusters of the test features, compared with the classes."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from cl.eval._result import EvalResult, Features, TestFeatures, confusion
from cl.eval._select import labeled

NUMBERS = ("nmi", "ari", "accuracy")
STARTS = 10  # of k-means, as scikit-learn's n_init was for long


def cluster(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    dataset: str = "this data set",
    seed: int = 0,
) -> EvalResult:
    """K-means of the test features into as many clusters as classes, without labels.

    Features are normalized to unit length; the clusters are scikit-learn's.

    Args:
        train: not used.
        test: features `(m d)` and labels `(m)`; samples without a label (below 0) are left out.
        classes: how many there are.
        dataset: its name, for error messages.
        seed: of the starting points.

    Returns:
        Normalized mutual information and adjusted Rand index with the classes, and the accuracy
        under the best one-to-one match of clusters and classes (Kuhn and Munkres).

    Raises:
        ValueError: there are no more test images than classes, or all are of one class.
    """
    precondition(train[1], test[1], classes, dataset=dataset)
    h, labels = labeled(test)
    u, labels = F.normalize(h.float(), dim=1).cpu().numpy(), labels.cpu()
    starts: Any = STARTS  # annotated as a word
    clusters = KMeans(classes, n_init=starts, random_state=seed).fit_predict(u)
    counts = confusion(torch.from_numpy(clusters).long(), labels, classes)
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    names: Int[Tensor, " c"] = torch.from_numpy(columns)
    return EvalResult(
        {
            "nmi": float(normalized_mutual_info_score(labels.numpy(), clusters)),
            "ari": float(adjusted_rand_score(labels.numpy(), clusters)),
            "accuracy": int(counts[rows, names].sum()) / len(labels),
        },
        how={"clusters": classes, "starts": STARTS, "normalization": "unit length"},
        confusion=counts[:, names],
    )


def precondition(
    train: Int[Tensor, " n"], test: Int[Tensor, " m"], classes: int, *, dataset: str
) -> None:
    """Check by the labels of the test part that `cluster` can be done.

    Raises:
        ValueError: with the reason.
    """
    known = test[test >= 0]
    if len(known) <= classes:  # each a cluster of its own would be no fault
        raise ValueError(
            f"--eval cluster needs more test images than clusters: {dataset} has {len(known)} for "
            f"{classes} classes."
        )
    if len(known.unique()) < 2:
        raise ValueError(
            f"--eval cluster needs test images of two classes: those of {dataset} are all of one, "
            "with which any clusters agree."
        )


def working_memory(train: int, test: int, width: int, classes: int) -> int:
    """Bytes that `cluster` takes beside the features: normalized, and k-means' own copies.

    Args:
        train: not used.
        test: test images.
        width: dimensions of the features.
        classes: how many clusters there are.
    """
    return 4 * (4 * test * width + test * 4 + 6 * classes * width)
