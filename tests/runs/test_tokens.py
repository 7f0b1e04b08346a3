"""Tokens on disk are those that the tokenizer makes, whatever happens to their files."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import cl
from cl.checkpoints import files
from cl.data.tokens import NGrams, OwnTokenizer, Subwords, Tokens
from cl.locking import lock_file
from cl.runs import tokens
from cl.runs.tokens import KeptTokens
from tests.nets.made_texts import tiny

TEXTS = ["the cat", "a dog of the river", "what"]


class Counted(NGrams):
    """Counts how often it is asked."""

    asked = 0

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        self.asked += 1
        return super().__call__(texts, longest)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "FEWEST", 0)


def same(found: Tokens, texts: Sequence[str] = TEXTS, longest: int = 9) -> None:
    expected = NGrams()(texts, longest)
    np.testing.assert_array_equal(found.flat, expected.flat)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert (found.flat.dtype, found.cut) == (np.int32, expected.cut)


def test_tokens_are_made_once(tmp_path: Path) -> None:
    counted = Counted()
    for _ in range(2):
        kept = KeptTokens(counted, tmp_path)
        assert str(kept) == str(counted)
        same(kept(TEXTS, 9))
    assert counted.asked == 1
    same(kept(TEXTS, 8), longest=8)
    same(kept(TEXTS[1:], 9), TEXTS[1:])
    same(kept(["the", " cat", *TEXTS[1:]], 9), ["the", " cat", *TEXTS[1:]])
    assert counted.asked == 4
    assert len([*(tmp_path / "tokens").glob("*.npz")]) == 4
    assert not [*(tmp_path / "tokens").glob("*.lock")]


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    counted = Counted()
    kept = KeptTokens(counted, tmp_path)
    kept(TEXTS, 9)
    (file,) = (tmp_path / "tokens").glob("*.npz")
    whole = file.read_bytes()
    for damaged in (whole[:-9], b"", whole[:200] + b"x" + whole[201:]):
        file.write_bytes(damaged)
        same(kept(TEXTS, 9))
        assert file.read_bytes() == whole
    assert counted.asked == 4


def test_where_nothing_can_be_written_tokens_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    same(KeptTokens(NGrams(), tmp_path / "file")(TEXTS, 9))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    same(KeptTokens(NGrams(), tmp_path)(TEXTS, 9))
    assert not [*(tmp_path / "tokens").iterdir()]


def test_another_process_that_writes_them_is_not_waited_for(tmp_path: Path) -> None:
    kept = KeptTokens(NGrams(), tmp_path)
    kept(TEXTS, 9)
    (file,) = (tmp_path / "tokens").glob("*.npz")
    file.unlink()
    assert lock_file(file.with_suffix(".lock")) is not None
    same(kept(TEXTS, 9))
    assert not file.exists()


def test_what_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeptTokens(OwnTokenizer(lambda texts, _: [[1] for _ in texts]), tmp_path)(TEXTS, 9)
    monkeypatch.setattr(tokens, "FEWEST", 1 + sum(map(len, TEXTS)))
    same(KeptTokens(NGrams(), tmp_path)(TEXTS, 9))
    assert not [*tmp_path.iterdir()]


def test_a_tokenizer_is_known_by_its_content(tmp_path: Path) -> None:
    library = pytest.importorskip("transformers")
    known = []
    for name in ("one", "two", "other"):
        file = tiny(tmp_path / name) / "tokenizer.json"
        if name == "other":
            file.write_text(file.read_text().replace('"river"', '"rivers"'))
        tokenizer = library.AutoTokenizer.from_pretrained(file.parent, local_files_only=True)
        known.append(Subwords(tokenizer).identity)
    assert known[0] == known[1] != known[2]


def test_runs_and_evaluations_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"query": f"the cat {i}", "positive": f"a dog {i}"}) for i in range(20)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    data = {"data_folder": str(tmp_path), "output": str(tmp_path / "runs"), "wandb": "off"}
    training = {"batch_size": 8, "max_steps": 1, "report": False, "baseline": False, **data}
    run = cl.pretrain("bag_w8", "pairs:pairs.jsonl", **training)
    monkeypatch.setattr(NGrams, "of_text", lambda *_: pytest.fail("they are there"))
    cl.pretrain("bag_w8", "pairs:pairs.jsonl", **training)
    cl.evaluate(run.folder, "pairs:pairs.jsonl", "retrieval", **data)
    assert len([*(tmp_path / "runs/tokens").glob("*.npz")]) == 4
