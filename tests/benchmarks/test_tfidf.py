"""The figures of tf-idf that stand in the documents."""

from pathlib import Path

import pytest

from benchmarks.tfidf import WAYS, tfidf
from cl.data import sets

PACKS = [
    ("squad2_retrieval", "words", [0.832, 0.862, 0.953]),
    ("squad2_retrieval", "defaults", [0.761, 0.804, 0.936]),
    ("scifact", "words", [0.590, 0.629, 0.774]),
    ("msmarco_dl19_mini", "words", [0.984, 0.682, 0.211]),
]


@pytest.mark.parametrize(("name", "way", "figures"), PACKS)
def test_packs(shared: Path, name: str, way: str, figures: list[float]) -> None:
    pairs = sets.load(f"beir:{name}", str(shared / "data/text")).val
    found = tfidf(pairs, pairs.documents, WAYS[way])
    assert [*found.values()] == pytest.approx(figures, abs=6e-4)


@pytest.mark.parametrize(("way", "figures"), [("words", [0.292, 0.411]), ("grams", [0.379, 0.552])])
def test_wordnet(way: str, figures: list[float]) -> None:
    source = sets.load("wordnet", "")
    found = tfidf(source.val, [*source.train.documents, *source.train.queries], WAYS[way])
    assert [found["mrr10"], found["recall10"]] == pytest.approx(figures, abs=6e-4)
