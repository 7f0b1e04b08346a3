"""Few-shot classification: n-way k-shot episodes and the nearest class mean.

Snell et al. 2017 (https://arxiv.org/abs/1703.05175) classify by the nearest mean of a class; Wang
et al. 2019 (https://arxiv.org/abs/1911.04623) do so with features of unit length (L2N) of an
encoder that was trained for something else.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Count
from cl.eval._result import EvalResult, Features, TestFeatures, normal
from cl.eval._select import labeled
from cl.precision import precise

NUMBERS = ("shot{shots}",)
WAYS = 5  # where --ways says none and there are as many classes


def fewshot(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    ways: Count | None = None,
    shots: tuple[Count, ...] = (1, 5),
    queries: Count = 15,
    episodes: Count = 600,
    seed: int = 0,
) -> EvalResult:
    """N-way k-shot episodes: a few training images of some classes classify test images of them.

    In each episode some classes are drawn, and of each its support from the training images and its
    queries from the test images. A query gets the class whose mean is the nearest one, of features
    of unit length, by Euclidean distance.

    Args:
        train: features `(n d)` and labels `(n)`; those without a label (below 0) are left out.
        test: features `(m d)` and labels `(m)`, likewise.
        classes: how many there are.
        ways: classes of an episode (5, or all where there are fewer)
        shots: training images of each class in an episode; each number is an evaluation of its own
        queries: test images of each class in an episode, or all where a class has fewer
        episodes: how many are drawn
        seed: of the episodes.

    Returns:
        `shotK` for each number of shots, the mean accuracy of the episodes, with its 95 % interval:
        1.96 standard errors over the episodes (none where all are alike).

    Raises:
        ValueError: too few classes have enough images.
    """
    precondition(train[1], test[1], classes, ways=ways, shots=shots)
    train, test = labeled(train), labeled(test)
    number = ways or min(WAYS, classes)
    numbers: dict[str, Any] = {}
    for k in shots:
        sampled = draw_episodes(train[1], test[1], number, k, queries, episodes, seed)
        accuracies = torch.tensor([accuracy(train[0], test[0], *each) for each in sampled]).double()
        mean, error = float(accuracies.mean()), float(accuracies.std(correction=0)) / episodes**0.5
        numbers[f"shot{k}"] = mean
        if error:
            numbers[f"shot{k}_95"] = normal(mean, error)
    how = {"classifier": "nearest class mean", "normalization": "unit length", "ways": number}
    return EvalResult(numbers, how=how)


def precondition(
    train: Int[Tensor, " n"],
    test: Int[Tensor, " m"],
    classes: int,
    *,
    ways: Count | None,
    shots: tuple[Count, ...],
) -> None:
    """Check by the labels of both parts that `fewshot` can be done.

    Raises:
        ValueError: with the reason.
    """
    number = ways or min(WAYS, classes)
    if number < 2:
        raise ValueError("--ways must be at least 2: of one class every answer is right")
    if (usable := len(usable_classes(train, test, max(shots)))) < number:
        raise ValueError(
            f"--eval fewshot: {number} classes with {max(shots)} training images and a test image "
            f"are needed, there are {usable}; smaller --ways or --shots need less"
        )


def usable_classes(
    train: Int[Tensor, " n"], test: Int[Tensor, " m"], shots: int
) -> Int[np.ndarray, " c"]:
    """Classes with so many training images and a test image."""
    most = 1 + max(int(part.max(initial=-1)) for part in (train.cpu().numpy(), test.cpu().numpy()))
    of_train, of_test = (
        np.bincount(part[part >= 0].cpu().numpy(), minlength=most) for part in (train, test)
    )
    return np.flatnonzero((of_train >= shots) & (of_test > 0))


def draw_episodes(
    train: Int[Tensor, " n"],
    test: Int[Tensor, " m"],
    ways: int,
    shots: int,
    queries: int,
    episodes: int,
    seed: int,
) -> Iterator[tuple[Int[Tensor, "w k"], list[Int[Tensor, " q"]]]]:
    """Places of the support, and of each class's queries; a function of the seed and the shots."""
    rng = np.random.default_rng([seed, shots])
    usable = usable_classes(train, test, shots)
    of_train, of_test = (
        {int(c): np.flatnonzero(labels == c) for c in usable}
        for labels in (train.cpu().numpy(), test.cpu().numpy())
    )
    for _ in range(episodes):
        chosen = [int(c) for c in rng.choice(usable, ways, replace=False)]
        support = np.stack([rng.choice(of_train[c], shots, replace=False) for c in chosen])
        asked = [
            rng.choice(of_test[c], min(queries, len(of_test[c])), replace=False) for c in chosen
        ]
        yield torch.from_numpy(support), [torch.from_numpy(q) for q in asked]


def accuracy(
    train: Float[Tensor, "n d"],
    test: Float[Tensor, "m d"],
    support: Int[Tensor, "w k"],
    queries: list[Int[Tensor, " q"]],
) -> float:
    """The share of an episode's queries whose nearest class mean is that of their class."""
    means = F.normalize(precise(train[support]), dim=2).mean(dim=1)
    q = F.normalize(precise(test[torch.cat(queries)]), dim=1)
    labels = torch.cat([torch.full((len(each),), way) for way, each in enumerate(queries)])
    nearest_mean = torch.cdist(q, means, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    return float((nearest_mean.cpu() == labels).double().mean())


def working_memory(train: int, test: int, width: int, classes: int) -> int:
    """Bytes that `fewshot` takes beside the features: labels and places, and an episode.

    Args:
        train: training images.
        test: test images.
        width: dimensions of the features.
        classes: how many there are.
    """
    return 32 * (train + test) + 4 * width * 1000
