"""Numbers from scores, the held-out part, and choosing on it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from cl.eval._report import format_metric
from cl.eval._result import Features, confusion, interval, score
from cl.eval._select import held_out, labeled, select_hyperparameters

RNG = np.random.default_rng(0)
LABELS = np.concatenate([np.arange(12), RNG.integers(0, 12, 188)])
SCORES = RNG.standard_normal((200, 12)) + 1.5 * np.eye(12)[LABELS]


def test_numbers_are_scikit_learns() -> None:
    found = score(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    numbers = found.numbers
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(LABELS, SCORES, k=k)
        assert numbers[f"top{k}"] == pytest.approx(expected)
    right = SCORES.argmax(1) == LABELS
    assert numbers["per_class"] == pytest.approx([right[c == LABELS].mean() for c in range(12)])
    counts = confusion(torch.from_numpy(SCORES).argmax(1), torch.from_numpy(LABELS), 12)
    assert np.array_equal(counts.numpy(), confusion_matrix(LABELS, SCORES.argmax(1)))
    assert torch.equal(found.confusion, counts)


def test_intervals_are_wilsons() -> None:
    """Those of SciPy, for every share; that of a classifier without a fault has a width."""
    found = score(torch.from_numpy(SCORES), torch.from_numpy(LABELS)).numbers
    for k in (1, 5, 10):
        right = round(200 * found[f"top{k}"])
        wilson = binomtest(right, 200).proportion_ci(method="wilson")
        assert found[f"top{k}_95"] == pytest.approx([wilson.low, wilson.high], abs=1e-12)
    for right, n in ((0, 1), (1, 1), (0, 10**6), (10**6, 10**6), (1, 3)):
        wilson = binomtest(right, n).proportion_ci(method="wilson")
        assert interval(right, n) == pytest.approx([wilson.low, wilson.high], abs=1e-12)
    assert score(torch.eye(30), torch.arange(30)).numbers["top1_95"][0] < 0.9


def test_what_has_no_label_does_not_count() -> None:
    labels = torch.from_numpy(LABELS).clone()
    labels[::3] = -1
    kept = labels >= 0
    scores = torch.from_numpy(SCORES)
    found, expected = score(scores, labels), score(scores[kept], labels[kept])
    assert found.numbers == expected.numbers
    assert torch.equal(found.confusion, expected.confusion)
    with pytest.raises(ValueError, match="no labeled image"):
        score(scores, torch.full((200,), -1))


def test_few_classes_have_no_top5() -> None:
    numbers = score(torch.eye(3), torch.arange(3)).numbers
    assert numbers.keys() == {"top1", "top1_95", "mean_per_class", "per_class"}
    few = score(torch.eye(3)[:2], torch.arange(2)).numbers
    assert few["per_class"] == [1.0, 1.0, None]


def test_mean_per_class_is_torchmetrics_and_says_what_it_leaves_out() -> None:
    """Over the classes that are in the test part; class 7 has no image there."""
    kept = torch.from_numpy(LABELS) != 7
    scores, labels = torch.from_numpy(SCORES)[kept], torch.from_numpy(LABELS)[kept]
    found = score(scores, labels)
    per_class = MulticlassAccuracy(12, average=None)(scores.argmax(dim=1), labels)
    present = labels.unique()
    mean = found.numbers["mean_per_class"]
    assert mean == pytest.approx(float(per_class[present].double().mean()), abs=1e-6)
    said = format_metric("mean_per_class", mean, found)
    assert said.endswith(" % (of 11 of 12 classes; the others have no test image)")
    whole = score(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    assert "classes" not in format_metric("mean_per_class", 0.5, whole)


def test_a_tenth_of_every_class_is_held_out() -> None:
    labels = torch.tensor([0] * 50 + [1] * 4 + [2])
    held = held_out(labels, 0)
    assert [int(held[labels == c].sum()) for c in range(3)] == [5, 1, 0]
    assert torch.equal(held, held_out(labels, 0))
    assert not torch.equal(held, held_out(labels, 1))


def test_the_best_on_the_held_out_part_is_chosen() -> None:
    h, labels = torch.eye(2).repeat(20, 1), torch.arange(2).repeat(20)
    held = held_out(labels, 3)

    def scores(part: Features, queries: Tensor) -> Iterator[tuple[float, Tensor]]:
        assert torch.equal(part[1], labels[~held])
        assert torch.equal(queries, h[held])
        for sign in (-1.0, 1.0, 2.0):
            yield sign, sign * queries

    best, reached = select_hyperparameters([-1.0, 1.0, 2.0], scores, (h, labels), 3, "--c")
    assert best == 1.0
    assert reached == {-1.0: 0.0, 1.0: 1.0, 2.0: 1.0}
    assert select_hyperparameters([-1.0], scores, (h[:0], labels[:0]), 3, "--c") == (-1.0, {})
    with pytest.raises(ValueError, match="--c must be one value: --data_fraction leaves"):
        select_hyperparameters([-1.0, 1.0], scores, (h[:2], labels[:2]), 3, "--c")


def test_labeled() -> None:
    h, labels = torch.arange(4.0)[:, None], torch.tensor([1, -1, 0, -1])
    assert [t.tolist() for t in labeled((h, labels))] == [[[0.0], [2.0]], [1, 0]]
