"""Neighbors, retrieval and clusters against scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from cl.eval import retrieval as module
from cl.eval.cluster import cluster
from cl.eval.knn import knn
from cl.eval.retrieval import retrieval

X, Y = load_digits(return_X_y=True)
X = torch.from_numpy(X).float()
Y = torch.from_numpy(Y)
TRAIN, TEST = (X[:1000], Y[:1000]), (X[1000:], Y[1000:])


@pytest.mark.parametrize("k", [1, 7, 30])
def test_neighbors_are_scikit_learns(k: int) -> None:
    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp(-distances / 0.1)

    theirs = KNeighborsClassifier(k, metric="cosine", weights=weights, algorithm="brute")
    theirs.fit(TRAIN[0].double().numpy(), TRAIN[1].numpy())
    found = knn(TRAIN, TEST, 10, k=(k,), knn_temperature=(0.1,))
    assert found.numbers["top1"] == pytest.approx(theirs.score(*map(torch.Tensor.numpy, TEST)))
    assert found.how["k"] == k
    assert not found.chosen


def test_the_defaults_are_the_protocol_of_dino() -> None:
    """k = 20 and T = 0.07 as a loop: votes of exp(cosine / T), ranked for top-1 and top-5."""
    queries, right = TEST[0][:200], TEST[1][:200]
    bank, asked = (x / x.norm(dim=1, keepdim=True) for x in (TRAIN[0].double(), queries.double()))
    top = {1: 0, 5: 0}
    for q, label in zip(asked, right.tolist(), strict=True):
        cosines = [float(q @ b) for b in bank]
        near = sorted(range(len(bank)), key=lambda j: -cosines[j])[:20]
        votes = [0.0] * 10
        for j in near:
            votes[int(TRAIN[1][j])] += np.exp(cosines[j] / 0.07)
        ranked = sorted(range(10), key=lambda c: -votes[c])
        for k in top:
            top[k] += label in ranked[:k]
    found = knn(TRAIN, (queries, right), 10)
    assert found.how == {"k": 20, "temperature": 0.07, "similarity": "cosine"}
    assert [found.numbers[f"top{k}"] for k in top] == [n / 200 for n in top.values()]


def test_of_several_the_best_on_the_banks_own_part_is_taken() -> None:
    """With noisy labels one neighbor is worse than thirty."""
    g = torch.Generator().manual_seed(0)
    noisy = torch.rand(1000, generator=g) < 0.4
    labels = torch.where(noisy, torch.randint(0, 10, (1000,), generator=g), TRAIN[1])
    found = knn((TRAIN[0], labels), TEST, 10, k=(1, 30), knn_temperature=(1.0,))
    assert found.chosen == {"k": 30, "temperature": 1.0}


@pytest.mark.parametrize("block", [7, 1024])
def test_retrieval_is_the_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    h, labels = TEST[0][:60].double(), TEST[1][:60].clone()
    labels[0] = 10  # alone in its class
    labels[5] = -1
    found = retrieval(TRAIN, (h, labels), 10).numbers
    kept = torch.where(labels >= 0)[0].tolist()
    u = torch.nn.functional.normalize(h, dim=1)
    precisions, recalls = [], {1: [], 5: [], 10: []}
    for i in kept:
        others = sorted((j for j in kept if j != i), key=lambda j: -float(u[i] @ u[j]))
        right = [int(labels[j] == labels[i]) for j in others]
        most = sum(right)
        if not most:
            continue
        at = [sum(right[: r + 1]) / (r + 1) for r in range(most) if right[r]]
        precisions.append(sum(at) / most)
        for k, found_within in recalls.items():
            found_within.append(float(any(right[:k])))
    assert found["map_r"] == pytest.approx(np.mean(precisions))
    error = np.std(precisions) / len(precisions) ** 0.5
    span = [np.mean(precisions) + z * error for z in norm.ppf([0.025, 0.975])]
    assert found["map_r_95"] == pytest.approx(span)
    for k, found_within in recalls.items():
        assert found[f"recall{k}"] == pytest.approx(np.mean(found_within))
        wilson = binomtest(int(sum(found_within)), len(found_within)).proportion_ci(method="wilson")
        assert found[f"recall{k}_95"] == pytest.approx([wilson.low, wilson.high])


def test_what_cannot_be_asked_is_said() -> None:
    h, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, -1])
    with pytest.raises(
        ValueError, match=r"--eval retrieval needs two test images of a class: in mine"
    ):
        retrieval((h, labels), (h, labels), 4, dataset="mine")
    with pytest.raises(ValueError, match=r"--eval cluster needs more .* mine has 3 for 4 classes"):
        cluster((h, labels), (h, labels), 4, dataset="mine")


def test_of_a_small_bank_all_are_neighbors() -> None:
    """More than there are cannot vote; the card says how many did."""
    found = knn((X[:8], Y[:8]), TEST, 10, k=(20,))
    assert found.how["k"] == 8


def test_clusters_that_are_the_classes() -> None:
    corners = torch.eye(4).repeat(10, 1) + 0.01 * torch.randn(40, 4)
    labels = torch.tensor([2, 0, 3, 1]).repeat(10)
    found = cluster((corners, labels), (corners, labels), 4)
    assert found.numbers == pytest.approx({"nmi": 1.0, "ari": 1.0, "accuracy": 1.0})
    assert torch.equal(found.confusion, 10 * torch.eye(4).long())


def test_clusters_of_noise_say_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (400,), generator=g)
    part = (torch.randn(400, 8, generator=g), labels)
    found = cluster(part, part, 4).numbers
    assert abs(found["ari"]) < 0.05
    assert found["nmi"] < 0.05
