"""Numbers from scores, the held-out part, and choosing on it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from torch import Tensor

from cl.eval.choose import Part, choose, held_out, labelled
from cl.eval.judge import confusion, judge, judged

RNG = np.random.default_rng(0)
LABELS = np.concatenate([np.arange(12), RNG.integers(0, 12, 188)])
SCORES = RNG.standard_normal((200, 12)) + 1.5 * np.eye(12)[LABELS]


def test_numbers_are_scikit_learns() -> None:
    numbers = judge(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(LABELS, SCORES, k=k)
        assert numbers[f"top{k}"] == pytest.approx(expected)
    right = SCORES.argmax(1) == LABELS
    assert numbers["per_class"] == pytest.approx([right[c == LABELS].mean() for c in range(12)])
    counts = confusion(torch.from_numpy(SCORES).argmax(1), torch.from_numpy(LABELS), 12)
    assert np.array_equal(counts.numpy(), confusion_matrix(LABELS, SCORES.argmax(1)))


def test_the_interval_is_the_bootstraps() -> None:
    right = SCORES.argmax(1) == LABELS
    drawn = RNG.choice(right, (20_000, 200)).mean(1)
    low, high = judge(torch.from_numpy(SCORES), torch.from_numpy(LABELS))["top1_95"]
    assert low == pytest.approx(np.quantile(drawn, 0.025), abs=0.0051)  # one image is 0.005
    assert high == pytest.approx(np.quantile(drawn, 0.975), abs=0.0051)


def test_what_has_no_label_does_not_count() -> None:
    labels = torch.from_numpy(LABELS).clone()
    labels[::3] = -1
    kept = labels >= 0
    scores = torch.from_numpy(SCORES)
    assert judge(scores, labels) == judge(scores[kept], labels[kept])
    assert torch.equal(
        judged(scores, labels).confusion, judged(scores[kept], labels[kept]).confusion
    )
    with pytest.raises(ValueError, match="no labelled image"):
        judge(scores, torch.full((200,), -1))


def test_few_classes_have_no_top5() -> None:
    numbers = judge(torch.eye(3), torch.arange(3))
    assert numbers.keys() == {"top1", "top1_95", "per_class"}
    assert judge(torch.eye(3)[:2], torch.arange(2))["per_class"] == [1.0, 1.0, None]


def test_a_tenth_of_every_class_is_held_out() -> None:
    labels = torch.tensor([0] * 50 + [1] * 4 + [2])
    held = held_out(labels, 0)
    assert [int(held[labels == c].sum()) for c in range(3)] == [5, 1, 0]
    assert torch.equal(held, held_out(labels, 0))
    assert not torch.equal(held, held_out(labels, 1))


def test_the_best_on_the_held_out_part_is_chosen() -> None:
    h, labels = torch.eye(2).repeat(20, 1), torch.arange(2).repeat(20)
    held = held_out(labels, 3)

    def scores(part: Part, queries: Tensor) -> Iterator[tuple[float, Tensor]]:
        assert torch.equal(part[1], labels[~held])
        assert torch.equal(queries, h[held])
        for sign in (-1.0, 1.0, 2.0):
            yield sign, sign * queries

    assert choose([-1.0, 1.0, 2.0], scores, (h, labels), 3) == 1.0
    assert choose([-1.0], scores, (h[:0], labels[:0]), 3) == -1.0


def test_labelled() -> None:
    h, labels = torch.arange(4.0)[:, None], torch.tensor([1, -1, 0, -1])
    assert [t.tolist() for t in labelled((h, labels))] == [[[0.0], [2.0]], [1, 0]]
