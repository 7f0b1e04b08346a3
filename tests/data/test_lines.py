"""Pairs and texts from files: what is read, what is held out, and faults that name the line."""

import gzip
import json
from pathlib import Path

import pytest

from cl.data.sets import Source, load

PAIRS = [
    {"query": f"question {i}", "positive": f"answer {i // 2}", "negatives": [f"wrong {i}", "no"]}
    for i in range(40)
]


def write(folder: Path, lines: list[str], name: str = "pairs.jsonl") -> Path:
    file = folder / name
    text = "".join(f"{line}\n" for line in lines).encode()
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


def read(folder: Path, lines: list, name: str = "pairs.jsonl", reader: str = "pairs") -> Source:
    words = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    write(folder, words, name)
    return load(f"{reader}:{name}", str(folder))


def test_every_key_of_negatives_is_read(tmp_path: Path) -> None:
    lines = [
        {"query": f"q{i}", "positive": f"p{i}", "negative": "a", "negative_2": ["b", "c"], "id": i}
        for i in range(20)
    ]
    pairs = read(tmp_path, lines).train
    assert [[pairs.documents[i] for i in each] for each in pairs.negatives] == [
        ["a", "b", "c"]
    ] * 18


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_pairs_with_negatives(name: str, tmp_path: Path) -> None:
    source = read(tmp_path, PAIRS, name)
    train, val = source.train, source.val
    assert (len(train), len(val)) == (36, 4)
    assert not {*train.queries} & {*val.queries}
    for part in (train, val):
        for i, query in enumerate(part.queries):
            line = PAIRS[int(query.split()[1])]
            assert part.documents[part.positive[i]] == line["positive"]
            assert [part.documents[j] for j in part.negatives[i]] == line["negatives"]
        assert len({*part.documents}) == len(part.documents)
    answers = [{part.documents[i] for i in part.positive} for part in (train, val)]
    assert not answers[0] & answers[1]
    assert "a tenth of the documents" in source.describe()


def test_the_split_of_a_line_holds(tmp_path: Path) -> None:
    lines = [line | {"split": "test" if i < 3 else "train"} for i, line in enumerate(PAIRS)]
    source = read(tmp_path, lines)
    assert (len(source.train), len(source.val)) == (37, 3)
    lines[5]["split"] = "validation"
    source = read(tmp_path, lines)
    assert (len(source.train), list(source.val.queries)) == (36, ["question 5"])


def test_lines_of_one_query_validate_as_one(tmp_path: Path) -> None:
    train = [{"query": f"q{i}", "positive": f"p{i}", "split": "train"} for i in range(5)]
    val = [{"query": "q", "positive": f"d{i}", "split": "val"} for i in range(3)]
    source = read(tmp_path, train + val)
    assert source.val.judgments.tolist() == [[0, 0, 1], [0, 1, 1], [0, 2, 1]]


def test_texts_are_their_own_documents_and_nothing_is_judged(tmp_path: Path) -> None:
    source = read(tmp_path, [f"text {i % 30}" for i in range(40)], "lines.txt", "texts")
    assert (len(source.train), len(source.val)) == (27, 3)
    assert list(source.train.queries) == list(source.train.documents)
    assert len(source.val.judgments) == 0


@pytest.mark.parametrize(
    ("names", "numbers", "split"),
    [
        ((None, None, None), (0, 30), "all are measured on"),
        (("train", "val", "test"), (10, 10), ""),
        (("train", "test", "test"), (10, 20), ""),
        (("val", "val", "val"), (0, 30), ""),
        (("train", "train", "train"), (27, 3), "a tenth of the pairs"),
    ],
)
def test_scored_lines_may_say_that_they_train(
    names: tuple[str | None, ...], numbers: tuple[int, int], split: str, tmp_path: Path
) -> None:
    lines = [
        {"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i / 10}
        | ({"split": name} if (name := names[i % 3]) else {})
        for i in range(30)
    ]
    source = read(tmp_path, lines, reader="scored")
    assert ((len(source.train), len(source.val)), source.split) == (numbers, split)
    for part in (source.train, source.val):
        assert part.scores is not None
        assert [f"{score:.1f}" for score in part.scores] == [
            f"{int(text.split()[1]) / 10:.1f}" for text in part.queries
        ]


GOOD = json.dumps(PAIRS[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "a", "positive": ', "line 2 is not JSON"),
        ("[1, 2]", "line 2 is not a JSON object"),
        ('{"query": "a"}', 'line 2 has no "positive"'),
        ('{"positive": "a"}', 'line 2 has no "query"'),
        ('{"query": " ", "positive": "b"}', 'line 2: "query" is empty'),
        ('{"query": "a", "positive": ""}', 'line 2: "positive" is empty'),
        ('{"query": "a", "positive": null}', '"positive" is not a text, but null'),
        ('{"query": "a", "positive": "b", "negatives": 3}', '"negatives" must be a text or a list'),
        ('{"query": "a", "positive": "b", "neg": ["c"]}', 'line 2: "neg" is not read; a pair has'),
        ('{"query": "a", "positive": "b", "negatives": [""]}', 'line 2: "negatives" is empty'),
        ('{"query": "a", "positive": "b", "split": "some"}', '"split" must be train, val or test'),
    ],
)
def test_a_fault_names_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, [GOOD, line, GOOD])
    said = str(error.value)
    assert said.startswith(f"DATASET pairs:pairs.jsonl: {tmp_path}/pairs.jsonl")
    assert "\n" not in said


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs:no.jsonl: there is no "):
        load("pairs:no.jsonl", str(tmp_path))
    write(tmp_path, [])
    with pytest.raises(ValueError, match="has no pairs"):
        load("pairs:pairs.jsonl", str(tmp_path))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"text\n" * 999)[:-9])
    with pytest.raises(ValueError, match=r"texts:cut.gz: .* cannot be read"):
        load("texts:cut.gz", str(tmp_path))
    (tmp_path / "bad.gz").write_bytes(gzip.compress(b"text\n" * 999)[:10] + b"\xff" * 30)
    with pytest.raises(ValueError, match=r"bad.gz, line 1 cannot be read: its bytes are damaged"):
        load("texts:bad.gz", str(tmp_path))
    (tmp_path / "latin").write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2 cannot be read"):
        load("texts:latin", str(tmp_path))
    with pytest.raises(ValueError, match="has 1 texts"):
        read(tmp_path, ["a", "", "a"], "gap.txt", "texts")
