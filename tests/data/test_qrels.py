"""Search data as files have them: BEIR's layout and MS MARCO's tables, right and wrong."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl.data.sets import Source, TextPairs
from cl.data.sets._rows import module_of
from cl.data.sets._source import Where
from cl.data.text_data import TextData
from cl.data.tokens import NGrams

CORPUS = [
    {"_id": "d2", "title": "Two", "text": "the second"},
    {"_id": "d10", "title": "", "text": "the tenth"},
    {"_id": "d1", "text": "the first"},
    {"_id": "d3", "title": "Three", "text": ""},
    {"_id": "d4", "title": "", "text": "the first"},
]
QUERIES = [{"_id": f"q{i}", "text": f"question {i}"} for i in range(5)]
HEADER = "query-id\tcorpus-id\tscore"
TRAIN = [HEADER, "q0\td1\t1", "q1\td4\t2", "q1\td2\t1", "q2\td2\t0"]
DEV = [HEADER, "q3\td10\t1", "q3\td2\t2", "q3\td1\t0", "q4\td2\t0"]


def packed(file: Path, lines: Sequence[Any]) -> None:
    """Lines of a file, objects as JSON, gzipped if its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
    with gzip.open(file, "wt") if file.suffix == ".gz" else file.open("w") as out:
        out.write(text + "\n")


def beir(place: Path, end: str = "", **other: Sequence[Any] | None) -> Path:
    """A folder of BEIR's layout; a part that is given stands in the place of the ordinary one."""
    parts = {"corpus": CORPUS, "queries": QUERIES, "train": TRAIN, "dev": DEV} | other
    for name, lines in parts.items():
        jsonl = name in ("corpus", "queries")
        file = place / (f"{name}.jsonl" if jsonl else f"qrels/{name}.tsv")
        if lines is not None:
            packed(file.with_name(file.name + end), lines)
    return place


def read(name: str, folder: Path, val_dir: str | None = None) -> Source[TextPairs]:
    return module_of(name).read(name, Where(folder, val_dir=val_dir))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_beir(tmp_path: Path, end: str) -> None:
    source = read("beir:some", beir(tmp_path / "some", end).parent)
    documents = ["the first", "the tenth", "Two. the second", "Three", "the first"]
    for part in (source.train, source.val):
        assert part.documents == documents  # in the order of d1 d10 d2 d3 d4
    assert source.train.queries == ["question 0", "question 1", "question 1"]
    assert source.train.positive.tolist() == [0, 0, 2]  # d4 says what d1 says
    assert source.val.queries == ["question 3"]  # of question 4 nothing is relevant
    assert source.val.positive.tolist() == [2]
    assert source.val.judgments.tolist() == [[0, 1, 1], [0, 2, 2], [0, 0, 0]]
    assert source.describe() == f"3 train / 1 val (dev.tsv{end} validates), 5 and 5 documents"


def test_a_document_of_a_querys_identifier_is_that_query(tmp_path: Path) -> None:
    """As in ArguAna; unless it is judged for it."""
    queries = [{"_id": name, "text": name} for name in ("d1", "d2", "q0")]
    train, dev = ["d1\td4\t1", "q0\td2\t1"], ["d1\td3\t1", "d2\td2\t1", "q0\td2\t1"]
    beir(tmp_path / "some", queries=queries, train=train, dev=dev)
    source = read("beir:some", tmp_path)
    assert source.train.itself.tolist() == [0, -1]
    assert source.val.itself.tolist() == [0, -1, -1]
    assert source.val.subset(np.array([2, 0])).itself.tolist() == [-1, 0]
    beir(tmp_path / "other")
    assert read("beir:other", tmp_path).val.itself is None


def test_what_validates(tmp_path: Path) -> None:
    test = [HEADER, "q0\td1\t1"]
    beir(tmp_path / "both", test=test)
    assert read("beir:both", tmp_path).split == "dev.tsv validates"
    assert read("beir:both", tmp_path, "test").val.queries == ["question 0"]
    beir(tmp_path / "one", train=None, dev=None, test=test)
    source = read("beir:one", tmp_path)
    assert len(source.train) == 0
    assert source.train.documents == source.val.documents
    with pytest.raises(ValueError, match=r"no \S+all\.tsv .*; --val_dir names"):
        read("beir:one", tmp_path, "all")


def test_judgments_of_what_is_not_there_are_counted(tmp_path: Path) -> None:
    beir(tmp_path / "some", dev=[*DEV, "q9\td1\t1", "q3\td9\t1"], train=[*TRAIN, "q0\td9\t1"])
    assert read("beir:some", tmp_path).left_out == (
        "2 judgments of dev.tsv left out, whose query or document is not there; "
        "1 judgment of train.tsv left out, whose query or document is not there"
    )


def test_an_empty_document_stays_in_the_corpus(tmp_path: Path) -> None:
    """FiQA has some."""
    beir(tmp_path / "some", corpus=[*CORPUS, {"_id": "d5", "title": "", "text": ""}])
    source = read("beir:some", tmp_path)
    assert source.val.documents[-1] == source.train.documents[-1] == ""
    assert source.describe().endswith("6 and 6 documents; 1 of the corpus is empty")
    data = TextData(source, NGrams(), longest=(99, 99), batch_size=2)
    assert (data.val_tokens[1].lengths > 0).all()


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("json", {"corpus": [*CORPUS, '{"_id": ']}, r"corpus\.jsonl, line 6 is not JSON: "),
    ("list", {"corpus": ["[1, 2]"]}, r"corpus\.jsonl, line 1 is not a JSON object"),
    ("empty", {"queries": [*QUERIES, {"_id": "a", "text": " "}]}, 'line 6: "text" is empty'),
    (
        "null document",
        {"corpus": [{"_id": "a", "text": None}]},
        'line 1: "text" is not a text, but',
    ),
    ("no text", {"corpus": [{"_id": "a"}]}, r'corpus\.jsonl, line 1 has no "text", but _id'),
    ("number", {"queries": [{"_id": 3, "text": "a"}]}, 'line 1: "_id" is not a text, but 3'),
    ("title", {"corpus": [{"_id": "a", "title": [1], "text": "a"}]}, '"title" is not a text'),
    ("twice", {"corpus": [*CORPUS, CORPUS[0]]}, r'line 6: the "_id" d2 was there before'),
    ("columns", {"dev": [*DEV, "q3 d1"]}, r"dev\.tsv, line 6 has 2 columns and not 3"),
    ("grade", {"dev": [*DEV, "q3\td1\tyes"]}, r"dev\.tsv, line 6: the grade yes is no whole"),
    ("other grade", {"train": [*TRAIN, "q0\td1\t3"]}, r"train\.tsv, line 6: .* another grade"),
    ("all missing", {"dev": [HEADER, "x\td1\t1", "q1\ty\t1"]}, r"none of its 2 judgments both"),
    ("irrelevant", {"dev": [HEADER, "q1\td1\t0"]}, r"dev\.tsv: no query has a relevant document"),
    ("no corpus", {"corpus": None}, r"no \S+corpus\.jsonl \(or corpus\.jsonl\.gz\)"),
    ("no queries", {"queries": None}, r"no \S+queries\.jsonl"),
    ("no judgments", {"dev": None}, r"no \S+qrels/dev\.tsv"),
]


@pytest.mark.parametrize(("parts", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    beir(tmp_path / "some", **parts)
    with pytest.raises(ValueError, match=message) as error:
        read("beir:some", tmp_path)
    assert str(error.value).startswith(f"DATASET beir:some: {'no ' * message.startswith('no ')}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\x1f\x8b\x08\x00broken"])
def test_what_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    beir(tmp_path / "some", corpus=None)
    (tmp_path / "some/corpus.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"corpus\.jsonl\.gz, line 1 cannot be read: "):
        read("beir:some", tmp_path)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_msmarco(tmp_path: Path, end: str) -> None:
    """The same data as BEIR's; a passage has no title."""
    place = tmp_path / "msmarco"
    tables = {
        "collection": ["2\tthe second", "10\tthe tenth", "1\tthe first"],
        "queries.train": ["7\tquestion 7", "8\tquestion 8"],
        "queries.dev.small": ["9\tquestion 9"],
        "qrels.train": ["7\t0\t1\t1", "8 0 10 1"],
        "qrels.dev.small": ["9\t0\t2\t1", "5\t0\t2\t1"],
    }
    for name, lines in tables.items():
        packed(place / f"{name}.tsv{end}", lines)
    source = read("msmarco", tmp_path)
    assert source.train.documents == ["the first", "the tenth", "the second"]
    assert source.train.queries == ["question 7", "question 8"]
    assert source.train.positive.tolist() == [0, 1]
    assert source.val.queries == ["question 9"]
    assert source.val.judgments.tolist() == [[0, 2, 1]]
    assert source.left_out.startswith(f"1 judgment of qrels.dev.small.tsv{end} left out")
    assert len(read("msmarco", tmp_path, "train").val) == 2
    packed(place / f"collection.tsv{end}", ["1\ta", "2 b"])
    with pytest.raises(ValueError, match=r"line 2 is not a number, a tab and a text, but 2 b"):
        read("msmarco", tmp_path)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("scifact", (919, 300, 5183, 339)),
        ("squad2_retrieval", (5915, 2910, 1216, 2910)),
        ("msmarco_dl19_mini", (0, 43, 5000, 4102)),
    ],
)
def test_data_sets_as_they_are(shared: Path, name: str, numbers: tuple[int, ...]) -> None:
    source = read(f"beir:{name}", shared / "data/text")
    train, val = source.train, source.val
    assert (len(train), len(val), len(val.documents), len(val.judgments)) == numbers
    assert val.judgments[:, 2].min() > 0
    assert np.unique(val.judgments[:, :2], axis=0).shape == (numbers[3], 2)
    assert not source.left_out
