"""Spearman's correlation of cosines and scores."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from cl.eval.sts import sts


def cosines_by_loop(a: torch.Tensor, b: torch.Tensor) -> list[float]:
    dot = lambda x, y: sum(float(i) * float(j) for i, j in zip(x, y, strict=True))  # noqa: E731
    return [dot(x, y) / (dot(x, x) * dot(y, y)) ** 0.5 for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys(ties: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(50, 5))) for _ in range(2))
    scores = rng.integers(4, size=50).astype(float) if ties else rng.normal(size=50)
    if ties:
        a[10:20], b[10:20] = a[0], b[0]
    found = sts(a, b, torch.from_numpy(scores), bootstrap=50)
    expected = spearmanr(np.round(cosines_by_loop(a, b), 12), scores).statistic
    assert found.numbers["spearman"] == pytest.approx(expected, abs=1e-12)
    low, high = found.numbers["spearman_95"]
    assert low < expected < high
    assert found.how == {"similarity": "cosine", "scored_pairs": 50}


def test_scores_in_the_order_of_the_cosines_are_1() -> None:
    a = torch.eye(3)[[0, 0, 0]]
    b = torch.tensor([[1.0, 0, 0], [1.0, 1, 0], [0, 1.0, 0]])
    assert sts(a, b, torch.tensor([5.0, 2.0, 1.0])).numbers["spearman"] == pytest.approx(1)
    assert sts(a, b, torch.tensor([1.0, 2.0, 5.0])).numbers["spearman"] == pytest.approx(-1)


def test_nothing_is_ranked_where_all_are_equal() -> None:
    a = torch.randn(4, 3)
    with pytest.raises(ValueError, match="all 4 scores are equal"):
        sts(a, torch.randn(4, 3), torch.ones(4))
    with pytest.raises(ValueError, match="all 4 cosines are equal"):
        sts(torch.ones(4, 3), torch.ones(4, 3), torch.arange(4.0))
