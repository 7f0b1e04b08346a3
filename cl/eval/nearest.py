"""What distances of features tell: classes of the nearest, retrieval, clusters."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from cl.eval.choose import Part, Tested, choose, labelled
from cl.eval.judge import Found, confusion, interval, judged
from cl.knn import nearest, votes

Setting = tuple[int, float]  # neighbours, temperature
NORMAL = 1.96  # standard errors, within which 95 % of a normal distribution lie
STARTS = 10  # of k-means, as scikit-learn's n_init was for long


def classify(
    train: Part,
    test: Tested,
    classes: int,
    ks: Sequence[int] = (20,),
    temperatures: Sequence[float] = (0.07,),
    seed: int = 0,
) -> Found:
    """Weighted k-nearest-neighbour classification, see `cl.knn`.

    Args:
        train: the bank.
        test: what is measured on.
        classes: how many there are.
        ks: of neighbours; of several the best on a held-out part of the bank.
        temperatures: so these.
        seed: of that part.
    """
    train, settings = labelled(train), list(product(ks, temperatures))

    def scores(bank: Part, queries: Tensor) -> Iterator[tuple[Setting, Tensor]]:
        return answers(bank, queries, classes, settings)

    best, _ = choose(settings, scores, train, seed, "--k, --knn_temperature")
    ((_, found),) = answers(train, test[0], classes, [best])
    return judged(
        found,
        test[1],
        chosen={"k": best[0], "temperature": best[1]} if len(settings) > 1 else {},
        how={"k": min(best[0], len(train[0])), "temperature": best[1], "similarity": "cosine"},
    )


def answers(
    bank: Part, queries: Float[Tensor, "m d"], classes: int, settings: Iterable[Setting]
) -> Iterator[tuple[Setting, Float[Tensor, "m c"]]]:
    """Scores of the queries for every setting, from one search."""
    settings = list(settings)
    found = list(nearest(bank[0], queries, max(k for k, _ in settings)))
    for k, t in settings:
        said = [votes(near[:, :k], bank[1][at[:, :k]], classes, t) for near, at in found]
        yield (k, t), torch.cat(said)


def retrieve(test: Tested, name: str, block: int = 1024) -> Found:
    r"""Every image of a part asks for the others of its class, by cosine.

    Recall@k: a share of the queries has one of its class among the k nearest. mAP@R (Musgrave et
    al. 2020, https://arxiv.org/abs/2003.08505, 3.2):
    $\frac{1}{R} \sum_{i \le R} P(i)\,[i\text{-th is of the class}]$, R the others of the class, P
    the precision of the first i. A class of one image asks nothing.

    Args:
        test: features and labels; what has no label is left out.
        name: of the data set, for errors.
        block: queries at a time.

    Raises:
        ValueError: no image has another one of its class.
    """
    h, labels = labelled(test)
    u = F.normalize(h.float(), dim=1)
    others = torch.bincount(labels)[labels] - 1
    if not (others > 0).any():
        raise ValueError(
            f"--eval retrieval: given {name}, allowed a data set with two test images of a class: "
            f"each of the {len(labels)} is alone in its class"
        )
    most = int(others.max())
    recalls: dict[int, list[Tensor]] = {k: [] for k in (1, 5, 10) if k < len(u)}
    precisions = []
    for index in torch.arange(len(u), device=u.device).split(block):
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
    return Found(numbers, how={"similarity": "cosine", "queries": "each image of the test part"})


def cluster(test: Tested, classes: int, name: str, seed: int = 0) -> Found:
    """K-means of the normalised features into as many clusters as classes, by scikit-learn.

    Normalised mutual information and the adjusted Rand index with the classes, and the accuracy
    when every cluster is named by the best one-to-one match (Kuhn and Munkres).

    Args:
        test: features and labels; what has no label is left out.
        classes: how many there are.
        name: of the data set, for errors.
        seed: of the starts.

    Raises:
        ValueError: there are fewer images.
    """
    h, labels = labelled(test)
    if len(h) < classes:
        raise ValueError(
            f"--eval cluster: given {name}, allowed a data set with a test image for each cluster: "
            f"there are {len(h)} for {classes} classes"
        )
    u, labels = F.normalize(h.float(), dim=1).cpu().numpy(), labels.cpu()
    starts: Any = STARTS  # annotated as a word
    made = KMeans(classes, n_init=starts, random_state=seed).fit_predict(u)
    counts = confusion(torch.from_numpy(made).long(), labels, classes)
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    names: Int[Tensor, " c"] = torch.from_numpy(columns)
    return Found(
        {
            "nmi": float(normalized_mutual_info_score(labels.numpy(), made)),
            "ari": float(adjusted_rand_score(labels.numpy(), made)),
            "accuracy": int(counts[rows, names].sum()) / len(labels),
        },
        how={"clusters": classes, "starts": STARTS, "normalisation": "unit length"},
        confusion=counts[:, names],
    )
