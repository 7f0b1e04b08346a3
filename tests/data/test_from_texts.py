"""Texts from Python: what items may be, what validates, and faults that name the item."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from cl.data.sets import TextPairs, from_texts, holds_texts, load
from cl.eval.retrieval import of_texts

PAIRS = [(f"question {i}", f"answer {i // 2}", [f"wrong {i}", "no"]) for i in range(40)]
KEYS = ("query", "positive", "negatives")


class Items(Dataset):
    """A map-style data set that torch's DataLoader would take."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        return self.items[at]


def told(pairs: TextPairs) -> list[tuple]:
    """The pairs as they were given."""
    return [
        (query, pairs.documents[at], [pairs.documents[i] for i in negatives])
        for query, at, negatives in zip(pairs.queries, pairs.positive, pairs.negatives, strict=True)
    ]


@pytest.mark.parametrize(
    "items",
    [
        PAIRS,
        Items(PAIRS),
        Subset(Items([*PAIRS, ("a", "b")]), range(40)),
        [dict(zip(KEYS, pair, strict=True)) for pair in PAIRS],
        [
            {"query": query, "positive": positive, "negative_1": one, "negative_2": two}
            for query, positive, (one, two) in PAIRS
        ],
        [(query, positive, *negatives) for query, positive, negatives in PAIRS],
        np.array(PAIRS, object),
    ],
)
def test_pairs(items: Any) -> None:
    if isinstance(items, np.ndarray):
        items = items.tolist()
    assert holds_texts(items)
    source = from_texts(items)
    assert source.split == "a tenth of the documents"
    assert len(source.val) == 4
    assert sorted(told(source.train) + told(source.val)) == sorted(PAIRS)
    assert {*source.train.labels.tolist()} == {*range(18)}  # no document is in both parts
    assert not {p for _, p, _ in told(source.train)} & {p for _, p, _ in told(source.val)}
    apart = from_texts((items, items[:3] if isinstance(items, list) else Items(PAIRS[:3])))
    assert told(apart.train) == PAIRS
    assert told(apart.val) == PAIRS[:3]


def test_the_parts_that_items_name() -> None:
    items = [
        {"query": f"q {i}", "positive": f"p {i}", "split": "val" if i < 3 else "train"}
        for i in range(9)
    ]
    source = from_texts(items)
    assert source.val.queries == ["q 0", "q 1", "q 2"]
    assert len(source.train) == 6


def test_a_query_of_several_validation_pairs_is_measured_once() -> None:
    """A perfect encoder finds all of its documents first: every measure is 1."""
    val = [("q", "d0", ["n"]), ("r", "e0"), ("q", "d1"), ("r", "e1"), ("q", "d0")]
    pairs = from_texts([("x", "y"), ("z", "w"), ("z", "v")], val).val
    assert (list(pairs.queries), len(pairs.documents)) == (["q", "r"], 5)
    judged = {(pairs.queries[q], pairs.documents[d]): grade for q, d, grade in pairs.judgments}
    assert judged == dict.fromkeys([("q", "d0"), ("q", "d1"), ("r", "e0"), ("r", "e1")], 1)
    assert [pairs.documents[at] for at in pairs.positive] == ["d0", "e0"]
    h = torch.eye(2)[[int(text[0] in "re") for text in (*pairs.queries, *pairs.documents)]]
    h[2 + list(pairs.documents).index("n")] = torch.tensor([-1.0, 0.0])
    found = of_texts(h[:2], h[2:], torch.from_numpy(pairs.judgments)).numbers
    assert found["mrr10"] == found["ndcg10"] == found["recall10"] == 1
    assert from_texts([("x", "y"), ("z", "w"), ("z", "v")]).train.grades is None


def test_a_part_may_be_empty() -> None:
    source = from_texts([], PAIRS)
    assert len(source.train) == 0
    assert told(source.val) == PAIRS


@pytest.mark.parametrize("score", [2, 2.5, np.float32(2.5), np.int64(2)])
def test_scores(score: float) -> None:
    tuples = [("a", "b", score), ("c", "d", 0.0)]
    for items in (tuples, [{"sentence1": a, "sentence2": b, "score": s} for a, b, s in tuples]):
        source = from_texts(items)
        assert len(source.train) == 0
        assert source.val.scores is not None
        assert source.val.scores.tolist() == [float(score), 0.0]
        assert not len(source.val.judgments)


def test_texts_alone_are_their_own_documents() -> None:
    source = from_texts([f"text {i % 20}" for i in range(30)])
    assert len(source.train) == 18
    assert list(source.train.queries) == list(source.train.documents)
    assert not len(source.val.judgments)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([("a",)], "list, item 0: it is a tuple; it must be"),
        ([("a", "b"), 3], "list, item 1: it is a int; it must be"),
        ([("a", "b"), ("a", 3)], 'list, item 1: "positive" is not a text, but 3'),
        ([("a", "b"), ("a", " ")], 'list, item 1: "positive" is empty'),
        ([("a", "b"), "c"], "list, item 1: it is of another kind than the first one"),
        ([("a", "b"), ("a", "b", 1.0)], "list, item 1: it is of another kind than the first"),
        ([("a", "b", "b")], 'list, item 0: one of its "negatives" is its "positive"'),
        ([("a", "b", ["c", None])], 'list, item 0: "negatives" is not a text, but null'),
        ([{"query": "a", "answer": "b"}], 'list, item 0 has no "positive", but query, answer'),
        (
            [{"query": "a", "positive": "b", "label": 0}],
            'list, item 0: "label" is not read; a pair',
        ),
        ([("a", "b", float("nan")), ("a", "b", 1.0)], 'item 0: "score" is nan'),
        ([("a", "b", 1.0)], "list has 1 pairs"),
        (["a", ""], 'list, item 1: "text" is empty'),
        (["a", "a"], "list has 1 texts"),
        ([], "list: it has no items"),
    ],
)
def test_a_wrong_item_is_named(items: list, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        from_texts(items)


def test_images_are_no_texts() -> None:
    class Broken(Items):
        def __getitem__(self, at: int) -> Any:
            raise OSError("damaged")

    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    for data in (pixels, [*pixels], [(x, 0) for x in pixels], [{"image": pixels[0]}], Broken([1])):
        assert not holds_texts(data)
    assert not holds_texts(([*pixels], [*pixels]))


MODULE = """
{row}
def made(name, where):
    return [(f"question {{i}}", f"answer {{i}}") for i in range(20)]
"""


def test_a_function_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_pairs.py").write_text(MODULE.format(row='ROW = {"kind": "text"}'))
    (tmp_path / "no_row.py").write_text(MODULE.format(row=""))
    source = load("own_pairs:made", "")
    assert len(source.train) == 18
    with pytest.raises(ValueError, match=r"no_row:made gives text, but its module says images; .*"):
        load("no_row:made", "")
    for name in ("own_pairs", "no_row"):
        del sys.modules[name]
