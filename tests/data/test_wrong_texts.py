"""Wrong texts, captions and judgments: a command says file and line in one sentence, exit 2."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cl
from cl.data.sets import Source
from cl.data.sets._texts import pairs_of
from tests.data.test_qrels import DEV, HEADER, beir, packed
from tests.nets.made_texts import tiny
from tests.test_wrong_lines import said

GOOD = {"query": "a", "positive": "b"}
PAIRS = [{"query": f"the cat {i}", "positive": f"a dog {i}"} for i in range(20)]
FILES: dict[str, list[Any]] = {
    "empty.jsonl": [GOOD, {"query": " ", "positive": "b"}],
    "lonely.jsonl": [GOOD, {"query": "a"}],
    "broken.jsonl": [GOOD, '{"query": "a", '],
    "apart.jsonl": PAIRS,
    "same.jsonl": [{"query": f"q{i}", "positive": "b", "split": "train"} for i in range(20)],
    "alike.jsonl": [{**GOOD, "split": "train"}] * 19 + PAIRS[:1] + [{**GOOD, "split": "val"}],
    "captions.jsonl": [{"image": "none.png", "captions": ["a"]}],
    "texts.txt": ["the cat", "a dog"],
}
LINES = [
    ("pairs:empty.jsonl", 'DATASET @: empty.jsonl, line 2: "query" is empty'),
    ("pairs:lonely.jsonl", 'DATASET @: lonely.jsonl, line 2 has no "positive", but query'),
    ("pairs:broken.jsonl", "DATASET @: broken.jsonl, line 2 is not JSON: Expecting property .* 16"),
    ("pairs:same.jsonl", "DATASET @: all 20 training pairs have the same document, so that .*"),
    (
        "pairs:alike.jsonl --loss mnrl --batch_size 2",
        r"--batch_size 2: all 2 pairs of step \d+ of epoch \d+ have one document, so that .*",
    ),
    ("pairs:apart.jsonl --method supcon", "--method supcon: no two of the 18 training samples .*"),
    (
        "pairs:apart.jsonl --hard_negatives 2 --loss mnrl",
        "--hard_negatives 2: some pair of @ has 0",
    ),
    ("pairs:apart.jsonl hf:no/such", "ENCODER hf:no/such: it is not on disk .*; give a folder: .*"),
    (
        "pairs:apart.jsonl hf:other",
        "ENCODER hf:other: its tokenizer has 75 tokens, its embedding 20 rows; they are not of .*",
    ),
    (
        "pairs:apart.jsonl hf:tiny --max_length 64 256",
        "--max_length 64 256: ENCODER hf:tiny has 40 positions; use --max_length 40 40",
    ),
    ("pairs:apart.jsonl hf:tiny --max_length 2 8", "--max_length must be at least 3, not 2: .*"),
    (
        "beir:absent",
        "DATASET @: absent/qrels/dev.tsv: of none of its 2 judgments both .* are there.*",
    ),
    ("beir:irrelevant", "DATASET @: irrelevant/qrels/dev.tsv: no query has a relevant document .*"),
    (
        "beir:untrained",
        "DATASET @: there are no training pairs, so that it can only be evaluated on",
    ),
    (
        "captions:captions.jsonl resnet6_w8 --method clip",
        "DATASET @: captions.jsonl, line 1: there is no image none.png",
    ),
    (
        "texts:texts.txt hf:tiny --eval retrieval",
        "--eval retrieval: no query of DATASET @ has a .*",
    ),
    (
        "beir:absent hf:tiny --eval retrieval",
        "DATASET @: absent/qrels/dev.tsv: of none of its 2 .*",
    ),
    (
        "pairs:apart.jsonl hf:tiny --eval retrieval --max_length 99 9",
        "--max_length 99 9: ENCODER hf:tiny has 40 positions; use --max_length 40 9",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("texts")
    for name, lines in FILES.items():
        packed(place / name, lines)
    beir(place / "absent", dev=[HEADER, "x\td1\t1", "q1\ty\t1"])
    beir(place / "irrelevant", dev=[HEADER, "q1\td1\t0"])
    beir(place / "untrained", train=None)
    torch.manual_seed(0)
    tiny(place / "tiny")
    tiny(place / "other", vocabulary=20)
    return place


@pytest.mark.parametrize(("line", "sentence"), LINES, ids=[line for line, _ in LINES])
def test_a_command_names_what_is_wrong(
    line: str, sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    dataset, *rest = line.split(" ")
    encoder = [] if rest and not rest[0].startswith("--") else ["bag_w8"]
    words = " ".join([dataset, *encoder, *rest, "--data_folder ."])
    code, lines = said("evaluate" if "--eval" in rest else "pretrain", words)
    assert code == 2
    assert len(lines) == 1, lines
    assert re.fullmatch(f"error: {sentence.replace('@', dataset)}", lines[0]), lines


@pytest.mark.filterwarnings("default::UserWarning")
def test_what_is_left_out_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(beir(tmp_path / "some", dev=[*DEV, "q9\td1\t1"]).parent)
    flags = {"wandb": "off", "max_steps": 1, "batch_size": 3, "max_length": [9, 9]}
    cl.pretrain("bag_w8", "beir:some", data_folder=".", output="runs", loss="mnrl", **flags)
    out, warned = capsys.readouterr()
    table = " ".join(re.findall(r"[\w.]+", out))
    assert "1 judgment of dev.tsv left out whose query or document is not there" in table
    for counted in ("3 of 3 queries", "5 of 5 documents"):
        assert warned.count(f"warning: {counted} are longer than the 9 tokens of --max_length") == 1


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize(
    ("loss", "without", "row", "warned"),
    [
        ("mnrl", None, "2 of 2", None),
        ("mnrl", 7, "0 of 0 to 2 ('q7' has none)", ""),
        ("nt_xent", None, "0 of 2", "; nt_xent takes none, --loss mnrl does"),
    ],
)
def test_hard_negatives_that_do_not_train_are_told(
    loss: str,
    without: int | None,
    row: str,
    warned: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    items = [(f"q{i}", f"p{i}", [f"n{i}", f"m{i}"] if i != without else []) for i in range(30)]
    where = {"output": str(tmp_path), "dry_run": str(tmp_path / "x.png"), "wandb": "off"}
    cl.pretrain("bag_w8", (items, items[:2]), loss=loss, batch_size=4, **where)
    out, err = capsys.readouterr()
    assert f"hard negatives │ {row} " in re.sub(" +", " ", out)
    assert ("hard negatives" in err) is (warned is not None)
    assert f"warning: hard negatives: {row}{warned}\n" in err or warned is None


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 9)


class Named(Source):
    """A data set of one's own."""


ONE = pairs_of([("a", "x"), ("b", "x")] * 4)
MANY = pairs_of([(f"a{i}", f"x{i}") for i in range(8)])


@pytest.mark.parametrize(
    ("encoder", "data", "flags", "sentence"),
    [
        ("bag_w8", [], {}, "list: it has no items"),
        ("bag_w8", ([], []), {}, "tuple: it has no items"),
        ("bag_w8", Named("mine", [], ONE, ONE), {}, "DATASET mine: all 8 training pairs have .*"),
        (
            "bag_w8",
            Named("mine", [], MANY, MANY),
            {"method": "supcon"},
            ".* samples of mine have .*",
        ),
        (
            "bag_w8",
            Named("mine", [], MANY, MANY),
            {"method": "looc"},
            "--method .*DATASET mine has text",
        ),
        ("resnet6_w8", Named("mine", [], MANY, MANY), {}, "ENCODER .* but DATASET mine has text.*"),
        ("resnet6_w8", [("a", "b"), ("c", "d")] * 4, {}, "ENCODER .* but DATASET list has text.*"),
        (
            "resnet6_w8",
            "captions:c.jsonl",
            {"method": "clip", "text_encoder": Encoder()},
            "--text_encoder must be a name, not an object of Encoder.",
        ),
    ],
)
def test_from_python(
    encoder: str, data: Any, flags: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.compile(f"^{sentence}$")):
        cl.pretrain(encoder, data, output=str(tmp_path), wandb="off", **flags)
    assert not [*tmp_path.iterdir()]
