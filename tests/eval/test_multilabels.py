"""Images of several classes: mAP and logistic regression are scikit-learn's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import cl
from cl.data.sets import Source, from_dataset
from cl.eval import _result, score
from cl.eval._result import weighted_precisions
from cl.eval._select import quality
from cl.eval.knn import knn
from cl.eval.logistic import fit_standardized, logistic
from cl.evaluation import evaluate
from cl.knn import label_shares


def drawn(n: int = 160, d: int = 6, c: int = 3) -> tuple[Tensor, Tensor]:
    """Features, and of several classes those on whose side of a plane they lie, but for noise."""
    generator = torch.Generator().manual_seed(0)
    h, planes, noise = (
        torch.randn(*size, generator=generator) for size in ((n, d), (d, c), (n, c))
    )
    return h, (h @ planes + noise > 0.5).long()


def test_map_is_scikit_learns_of_equal_scores_too() -> None:
    _, labels = drawn(200)
    rng = np.random.default_rng(0)
    for scores in (rng.normal(size=(200, 3)), rng.integers(0, 5, (200, 3)), np.zeros((200, 3))):
        found = score(torch.from_numpy(scores).float(), labels)
        expected = average_precision_score(labels, scores, average=None)
        assert found.numbers["per_class"] == pytest.approx([*expected], abs=1e-12)
        assert found.numbers["map"] == pytest.approx(expected.mean(), abs=1e-12)
        assert quality(torch.from_numpy(scores).float(), labels) == pytest.approx(expected.mean())
    labels[:, 1] = 0  # a class of no image is left out
    without = score(torch.from_numpy(scores).float(), labels).numbers
    assert without["per_class"][1] is None
    assert without["map"] == pytest.approx(expected[[0, 2]].mean())


def test_weighted_precisions_are_scikit_learns() -> None:
    """Of scores with ties too; a class that no drawn image is of has none."""
    _, labels = drawn(60)
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, (60, 3)).astype(float)
    scores = torch.from_numpy(scores)
    for case in range(4):
        weight = rng.integers(0, 3, 60)
        weight[(labels[:, 1] == 1).numpy()] *= case < 3
        found = weighted_precisions(scores, labels, torch.from_numpy(weight).double())
        there = [c for c in range(3) if (labels[:, c].numpy() * weight).any()]
        assert there == ([0, 1, 2] if case < 3 else [0, 2])
        expected = [
            average_precision_score(labels[:, c], scores[:, c], sample_weight=weight) for c in there
        ]
        assert found[there].tolist() == pytest.approx(expected)
        assert found.isnan().sum() == 3 - len(there)


def test_the_interval_of_map_is_that_of_other_test_sets() -> None:
    """Its width is what many test sets of this size show, and a hundredth of them a tenth."""
    h, labels = drawn(40_000)
    scores = h + torch.randn(h.shape, generator=torch.Generator().manual_seed(1))
    scores = scores[:, : labels.shape[1]]
    parts = list(zip(scores.split(400), labels.split(400), strict=True))
    each = [score(*part).numbers for part in parts]
    across = np.std([numbers["map"] for numbers in each])
    widths = [(high - low) / 2 / 1.96 for low, high in (numbers["map_95"] for numbers in each)]
    assert np.median(widths) == pytest.approx(across, rel=0.25)
    low, high = score(scores, labels).numbers["map_95"]
    assert (high - low) / 2 / 1.96 == pytest.approx(across / 10, rel=0.25)
    labels[:, 1] = 0  # of a class without an image there is none
    low, high = score(scores.half(), labels).numbers["map_95"]
    assert 0 < high - low < across


def test_the_interval_of_map_needs_the_graph_of_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    weighted, widths = _result.weighted_precisions, []

    def spy(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        widths.append(scores.shape[1])
        return weighted(scores, labels, weights)

    monkeypatch.setattr(_result, "weighted_precisions", spy)
    h, labels = drawn(8)
    _result.deviation_of_map(h[:, :3], labels)
    assert widths == [1, 1, 1]


def test_the_votes_of_few_labels_at_a_time_are_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    g = torch.Generator().manual_seed(0)
    near, at = torch.rand(9, 4, generator=g), torch.randint(20, (9, 4), generator=g)
    labels, einsum, gathered = torch.randint(2, (20, 5), generator=g), torch.einsum, []

    def spy(how: str, weight: Tensor, of_neighbors: Tensor) -> Tensor:
        gathered.append(of_neighbors.numel())
        return einsum(how, weight, of_neighbors)

    whole = label_shares(near, at, labels, 0.1)
    monkeypatch.setattr("cl.knn.SHARES", 40)
    monkeypatch.setattr(torch, "einsum", spy)
    torch.testing.assert_close(label_shares(near, at, labels, 0.1), whole)
    assert max(gathered) == 40


def test_images_of_no_class_have_no_precision() -> None:
    with pytest.raises(ValueError, match="no labeled image"):
        score(torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.long))


def test_logistic_is_scikit_learns_one_against_the_rest() -> None:
    h, labels = drawn()
    train, test = (h[:100], labels[:100]), (h[100:], labels[100:])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, tol=1e-9))
    theirs = OneVsRestClassifier(classifier).fit(*train).decision_function(test[0])
    fit = fit_standardized(train, 3, l2=1 / (0.3 * 100), steps=1000)
    np.testing.assert_allclose(fit(test[0]).numpy(), theirs, atol=1e-4)
    found = logistic(train, test, 3, c=(0.3,)).numbers["map"]
    assert found == pytest.approx(average_precision_score(test[1], theirs), abs=1e-9)
    assert logistic(train, test, 3, c=(0.01, 0.3)).chosen["c"] in (0.01, 0.3)


def test_neighbors_vote_for_each_class_by_their_cosine() -> None:
    h, labels = drawn()
    bank, queries = h[:100].double(), h[100:].double()
    scores = np.zeros((60, 3))
    for i, q in enumerate(queries):
        cosines = [float(q @ b / (q.norm() * b.norm())) for b in bank]
        near = sorted(range(100), key=lambda j: -cosines[j])[:7]
        weights = {j: np.exp(cosines[j] / 0.2) for j in near}
        for c in range(3):
            of_class = sum(w for j, w in weights.items() if labels[j, c])
            scores[i, c] = of_class / sum(weights.values())
    found = knn((bank, labels[:100]), (queries, labels[100:]), 3, k=(7,), knn_temperature=(0.2,))
    expected = average_precision_score(labels[100:], scores)
    assert found.numbers["map"] == pytest.approx(expected, abs=1e-12)


def colored(n: int = 90) -> Source:
    """Images whose red, green and blue say their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (n, 3))
    pixels = rng.integers(0, 100, (n, 8, 8, 3)) + 150 * labels[:, None, None]
    return from_dataset(pixels.astype(np.uint8), labels=labels, classes=["red", "green", "blue"])


def test_frozen_features_are_evaluated_by_map(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    how = {"epochs": 20, "num_workers": 1, "precision": "32", "wandb": "off", "output": tmp_path}
    names = ["linear", "logistic", "knn", "fewshot"]
    found = evaluate(encoder, colored(), names, lr_decay_steps=(15,), **how)
    assert {name: round(each.numbers["map"], 3) for name, each in found.items()} == {
        "linear": 1.0,
        "logistic": 1.0,
        "knn": 1.0,
    }
    assert "held_out_map" in found["linear"].how["grid"][0]
    said = "--eval fewshot is of images of one class each; .* there are knn, linear, logistic"
    with pytest.raises(ValueError, match=said):
        evaluate(encoder, colored(), "fewshot", **how)
    with pytest.raises(ValueError, match="--eval linear --augment is of images of one class each"):
        evaluate(encoder, colored(), "linear", augment=True, **how)


def test_pretraining_takes_the_images_and_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    how = {"max_steps": 1, "batch_size": 8, "precision": "32", "wandb": "off", "report": False}
    how |= {"output": str(tmp_path), "num_workers": 1}
    with pytest.raises(ValueError, match="--method supcon needs images of one class each"):
        cl.pretrain("resnet6_w4", colored(24), "supcon", **how)
    run = cl.pretrain("resnet6_w4", colored(24), **how)
    assert run.method is not None
    assert run.method.probe is None
    said = capsys.readouterr().out
    assert "several labels an image have no probe" in said
    assert "cl.evaluate(run.encoder, data)" in said


@pytest.mark.parametrize("c", [2, 3])
def test_an_interval_without_a_width_is_not_given(c: int) -> None:
    """What an image takes from one class it gives another."""
    scores = torch.eye(c).roll(1, dims=0) + torch.eye(c) / 2
    numbers = score(scores, torch.eye(c, dtype=torch.int64)).numbers
    assert numbers["map"] == pytest.approx(0.5)
    assert "map_95" not in numbers
    assert "map_95" not in score(torch.eye(c), torch.eye(c, dtype=torch.int64)).numbers
