"""kNN against scikit-learn, whose neighbors are exact."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from cl import knn
from cl.knn import classify, nearest, nearest_of_block


def test_votes_are_those_of_exact_neighbors() -> None:
    rng = np.random.default_rng(0)
    bank, queries = rng.standard_normal((200, 8)), rng.standard_normal((50, 8))
    classes = rng.integers(0, 5, 200)
    distance, at = NearestNeighbors(n_neighbors=7, metric="cosine").fit(bank).kneighbors(queries)
    expected = []
    for d, neighbors in zip(distance, at, strict=True):
        votes = np.zeros(5)
        for one, j in zip(d, neighbors, strict=True):
            votes[classes[j]] += np.exp((1 - one) / 0.1)
        expected.append(int(votes.argmax()))
    found = classify(
        torch.from_numpy(bank).float(),
        torch.from_numpy(classes),
        torch.from_numpy(queries).float(),
        k=7,
        temperature=0.1,
        block=16,
    )
    assert found.tolist() == expected


def test_without_neighbors_nothing_is_known() -> None:
    none = torch.zeros(0, 3)
    assert classify(none, torch.zeros(0, dtype=torch.long), torch.ones(2, 3)).tolist() == [-1, -1]


def test_a_low_temperature_is_the_nearest_neighbors_class() -> None:
    """e^(-0.2 / 0.001) is 0 in float32, and class 0 would be the answer to all."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, 4, generator=generator) for n in (30, 50))
    classes = torch.arange(30) % 5
    found, exact = (
        classify(bank.to(t), classes, queries.to(t), k=7, temperature=0.001)
        for t in (torch.float32, torch.float64)
    )
    u, q = (torch.nn.functional.normalize(x.double(), dim=1) for x in (bank, queries))
    near, at = (q @ u.T).topk(7, dim=1)
    votes = torch.zeros(50, 5).double()
    votes.scatter_add_(1, classes[at], ((near - 1) / 0.001).exp())
    assert (1 - near[:, 0]).max() > 0.12  # e^-120 is less than a float32 can be
    assert torch.equal(exact, votes.argmax(dim=1))
    assert torch.equal(found, exact)


@pytest.mark.parametrize("size", [1, 37, 200])
@pytest.mark.parametrize("k", [1, 7, 250])
def test_the_nearest_are_those_of_one_product(
    k: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the bank is cut; of fewer than k all are given."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, 8, generator=generator).double() for n in (200, 50))
    monkeypatch.setattr(knn, "ROWS", size)
    near, at = nearest(bank, queries, k, 16)
    u, q = (torch.nn.functional.normalize(x, dim=1) for x in (bank, queries))
    expected = (q @ u.T).sort(dim=1, descending=True)
    torch.testing.assert_close(near, expected.values[:, :k], rtol=0, atol=1e-12)
    assert torch.equal(at, expected.indices[:, :k])


@pytest.mark.parametrize("kind", ["different", "equal"])
@pytest.mark.parametrize("tile", [10, 64, 2048])
@pytest.mark.parametrize(("m", "k"), [(5, 9), (100, 1), (1000, 20), (1003, 20), (1024, 300)])
def test_the_nearest_of_groups_are_the_nearest(
    kind: str, tile: int, m: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also among equal scores, where each place comes once, and in memory that is too large."""
    monkeypatch.setattr(knn, "TILE", tile)
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, 3, generator=generator).double() for n in (m, 30))
    if kind == "equal":
        bank, queries = bank.round(), queries.round()  # few integers, whose products are exact
    scores = queries @ bank.T
    near, at = nearest_of_block(bank, queries, k, torch.full((40 * m,), torch.nan).double())
    torch.testing.assert_close(near, scores.topk(min(k, m), dim=1).values, rtol=0, atol=1e-12)
    torch.testing.assert_close(scores.gather(1, at), near, rtol=0, atol=1e-12)
    assert all(len({*row}) == min(k, m) for row in at.tolist())
