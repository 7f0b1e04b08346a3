"""Hard negatives against a plain loop over all documents."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cl.data.sets._texts import TextPairs, pairs_of
from cl.eval import _mine
from cl.eval._mine import lines_to_measure, mine

DIMENSIONS = 6


def made(queries: int = 30, documents: int = 80) -> tuple[TextPairs, torch.Tensor, torch.Tensor]:
    """Some queries have two answers, some documents answer two queries."""
    rng = np.random.default_rng(0)
    pairs = [(f"q{i % (queries - 5)}", f"d{rng.integers(documents)}") for i in range(queries)]
    base = pairs_of(pairs)
    rest = [f"d{i}" for i in range(documents) if f"d{i}" not in base.documents]
    pairs = replace(base, documents=[*base.documents, *rest])
    g = torch.Generator().manual_seed(1)
    known = {query: torch.randn(DIMENSIONS, generator=g) for query in pairs.queries}
    q = torch.stack([known[query] for query in pairs.queries])
    return pairs, q, torch.randn(len(pairs.documents), DIMENSIONS, generator=g)


def by_loop(
    pairs: TextPairs, q: torch.Tensor, d: torch.Tensor, first: int, last: int, margin: float
) -> list[list[int]]:
    """Every document that may be a negative, in the order of its rank."""
    out = []
    for i, query in enumerate(pairs.queries):
        cosines = [float(x) for x in torch.cosine_similarity(q[i : i + 1].double(), d.double())]
        order = sorted(range(len(d)), key=lambda j: -cosines[j])
        answers = [int(pairs.positive[k]) for k in range(len(pairs)) if pairs.queries[k] == query]
        own = cosines[int(pairs.positive[i])]
        limit = margin * own if own > 0 else own * (2 - margin)
        out.append([j for j in order[first - 1 : last] if cosines[j] < limit and j not in answers])
    return out


@pytest.mark.parametrize(("ranks", "margin"), [((1, 80), 0.95), ((10, 40), 0.95), ((5, 200), 0.5)])
def test_what_may_be_a_negative(ranks: tuple[int, int], margin: float) -> None:
    pairs, q, d = made()
    expected = by_loop(pairs, q, d, *ranks, margin)
    assert any(expected)
    assert mine(pairs, q, d, ranks=ranks, margin=margin, number=1000, seed=0) == expected
    drawn = mine(pairs, q, d, ranks=ranks, margin=margin, number=3, seed=0)
    for every, some in zip(expected, drawn, strict=True):
        assert len(some) == min(3, len(every))
        assert [j for j in every if j in some] == some


def test_draws_follow_the_seed() -> None:
    pairs, q, d = made()
    a, b, c = (
        mine(pairs, q, d, ranks=(1, 80), margin=1.0, number=3, seed=seed) for seed in (0, 0, 1)
    )
    assert a == b != c


def test_a_query_is_no_negative_of_its_own() -> None:
    pairs = TextPairs(["a"], ["x", "a", "y"], np.array([0]), itself=np.array([1]))
    q, d = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.9, 0.5], [0.5, 1.0]])
    assert mine(pairs, q, d, ranks=(1, 3), margin=0.95, number=3, seed=0) == [[2]]


def test_a_query_that_validates_is_no_answer_of_its_own() -> None:
    pairs = TextPairs(["a"], ["x", "a"], np.array([0]), itself=np.array([1]))
    assert lines_to_measure(pairs) == [{"query": "a", "positive": "x", "split": "val"}]


def test_the_device_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """On several GPUs what is gathered must lie on them."""
    pairs, q, d = made()
    seen = []

    def spy(*tensors: torch.Tensor, numbers: torch.Tensor) -> None:
        seen.extend(x.device.type for x in (*tensors[:2], numbers))
        raise InterruptedError

    monkeypatch.setattr(_mine, "search", spy)
    with pytest.raises(InterruptedError):
        mine(pairs, q, d, ranks=(1, 3), margin=1.0, number=1, seed=0, device=torch.device("meta"))
    assert seen == ["meta"] * 3


def test_a_judged_document_of_equal_text_is_no_negative() -> None:
    """The same text stands in the corpus twice, as in data of other people."""
    pairs = TextPairs(["a", "b"], ["x", "y", "x"], np.array([0, 1]))
    q, d = torch.eye(2), torch.tensor([[1.0, 0.1], [0.1, 1.0], [0.5, 1.0]])
    assert mine(pairs, q, d, ranks=(1, 3), margin=0.95, number=3, seed=0) == [[1], [2, 0]]
