"""Texts in the columns of a data set that Hugging Face's `datasets` saved."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from cl.config import parse_linear, parse_pretrain
from cl.config.datasets import kind_of
from cl.data.sets import load
from tests.data.test_from_texts import told

PAIRS = [(f"question {i}", f"answer {i}", [f"wrong {i}", "no"]) for i in range(20)]
QUERIES, ANSWERS, WRONG = ([*each] for each in zip(*PAIRS, strict=True))
SCORES = [i / 4 for i in range(20)]


def save(folder: Path, **parts: dict[str, list]) -> str:
    """Save a table, or several as splits."""
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    made = {split: library.Dataset.from_dict(columns) for split, columns in parts.items()}
    saved: Any = made["alone"] if "alone" in made else library.DatasetDict(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making one, the library pickles more than it can
        saved.save_to_disk(str(folder / "set"))
    return "huggingface:set"


@pytest.mark.parametrize(
    "columns",
    [
        {"query": QUERIES, "positive": ANSWERS, "negatives": WRONG},
        {"anchor": QUERIES, "positive": ANSWERS, "negative": WRONG, "id": [*range(20)]},
        {
            "positive": ANSWERS,
            "query": QUERIES,
            "negative_1": [two[0] for two in WRONG],
            "negative_2": [two[1] for two in WRONG],
        },
    ],
)
def test_pairs(columns: dict[str, list], tmp_path: Path) -> None:
    name = save(tmp_path, alone=columns)
    source = load(name, str(tmp_path))
    assert sorted(told(source.train) + told(source.val)) == sorted(PAIRS)
    assert source.split == "a tenth of the documents"
    assert kind_of(name, str(tmp_path)) == "text"


def test_splits(tmp_path: Path) -> None:
    part = {"question": QUERIES, "answer": ANSWERS}
    few = {key: column[:3] for key, column in part.items()}
    name = save(tmp_path, test=few, train=part, validation={k: c[:2] for k, c in part.items()})
    source = load(name, str(tmp_path))
    assert (len(source.train), len(source.val)) == (20, 2)
    assert source.split == "validation validates"
    assert source.left_out == "left out: 3 in test"
    assert source.val.documents == ANSWERS[:2]


def test_rows_of_one_query_validate_as_one(tmp_path: Path) -> None:
    val = {"query": ["q", "r", "q"], "positive": ["d0", "e", "d1"]}
    name = save(tmp_path, train={"query": QUERIES, "positive": ANSWERS}, validation=val)
    source = load(name, str(tmp_path))
    assert source.val.judgments.tolist() == [[0, 0, 1], [1, 1, 1], [0, 2, 1]]


def test_scores(tmp_path: Path) -> None:
    part = {"sentence1": QUERIES, "sentence2": ANSWERS, "label": SCORES}
    name = save(tmp_path, test=part, train={key: column[:5] for key, column in part.items()})
    source = load(name, str(tmp_path))
    assert source.train.scores.tolist() == SCORES[:5]
    assert source.val.scores.tolist() == SCORES
    assert source.split == "test is measured on"
    alone = load(save(tmp_path / "b", alone=part), str(tmp_path / "b"))
    assert (len(alone.train), alone.val.scores.tolist()) == (0, SCORES)


def test_a_whole_number_that_is_called_a_score_is_one(tmp_path: Path) -> None:
    part = {"sentence1": QUERIES, "sentence2": ANSWERS, "score": [i % 6 for i in range(20)]}
    source = load(save(tmp_path, alone=part), str(tmp_path))
    assert source.val.scores.tolist() == part["score"]


@pytest.mark.parametrize(
    ("keys", "column", "hint"),
    [
        (("sentence1", "sentence2"), "label", "; if these are scores, cast_column .* float32"),
        (("question", "answer"), "label", ""),
        (("query", "passage"), "score", ""),
    ],
)
def test_pairs_that_may_not_belong_together_are_refused(
    keys: tuple[str, str], column: str, hint: str, tmp_path: Path
) -> None:
    rows = [QUERIES, ANSWERS, [i % 2 for i in range(20)]]
    name = save(tmp_path, alone=dict(zip((*keys, column), rows, strict=True)))
    said = f"DATASET {name}: .*: its column {column} may say that some pairs do not .*{hint}$"
    with pytest.raises(ValueError, match=said):
        load(name, str(tmp_path))


def test_texts_alone(tmp_path: Path) -> None:
    source = load(save(tmp_path, alone={"text": QUERIES}), str(tmp_path))
    assert len(source.train) == 18
    assert source.train.queries == source.train.documents


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"alone": {"a": QUERIES, "b": ANSWERS}}, "set: it has the columns a, b; rename_column"),
        (
            {"train": {"query": [*QUERIES[:3], " "], "positive": ANSWERS[:4]}},
            'set train, row 3: "query" is empty',
        ),
        (
            {"train": {"query": ["a", "b"], "positive": ["c", None]}},
            'set train, row 1: "positive" is not a text, but null',
        ),
        ({"test": {"query": QUERIES, "positive": ANSWERS}}, "set has no split train, but test"),
    ],
)
def test_what_is_wrong_is_named(parts: dict[str, Any], said: str, tmp_path: Path) -> None:
    name = save(tmp_path, **parts)
    with pytest.raises(ValueError, match=re.escape(said)):
        load(name, str(tmp_path))


def test_a_command_knows_of_what_kind_it_is(tmp_path: Path) -> None:
    name = save(tmp_path, alone={"query": QUERIES, "positive": ANSWERS})
    line = [name, "bag_w8", "--data_folder", str(tmp_path)]
    assert parse_pretrain(line).kind == "text"
    assert parse_pretrain([*line, "--max_length", "8", "9"]).max_length == (8, 9)
    with pytest.raises(ValueError, match="--brightness needs a DATASET of images"):
        parse_pretrain([*line, "--brightness", "0.1"])
    with pytest.raises(ValueError, match="ENCODER resnet18 takes images, but DATASET"):
        parse_pretrain([name, "resnet18", *line[2:]])
    with pytest.raises(ValueError, match="--eval linear needs labeled images"):
        parse_linear([*line, "--pretrained_feature_extractor", "x"])
    with pytest.raises(ValueError, match="bag_w8 takes text, but DATASET huggingface:set has im"):
        parse_pretrain([name, "bag_w8"])  # it lies elsewhere
