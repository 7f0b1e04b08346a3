"""The card of a pretraining: an entry for each start, with what became of it."""

import json
import sys
from pathlib import Path

import pytest

from cl.runs import card
from cl.runs.card import carded, command_line, commit, read_starts


def test_every_start_has_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ends by an error, one is killed, which leaves no end, one ends well."""
    monkeypatch.setattr(sys, "argv", ["/x/main_contrastive.py", "digits", "a b"])
    with pytest.raises(KeyError), carded(tmp_path, "1 x cpu, 32-true"):
        raise KeyError("x")
    killed = carded(tmp_path, "1 x cpu, 32-true")
    killed.__enter__()
    first, second = read_starts(tmp_path)
    assert (first["error"], "code" in first) == ("KeyError", False)
    assert first["ended"] >= first["started"]
    assert first["seconds"] >= 0
    assert second["ended"] is None
    with carded(tmp_path, "1 x cpu, 32-true") as entry:
        entry["code"] = 75
    third = json.loads((tmp_path / "card.json").read_text())["starts"][2]
    assert (third["code"], third["command"]) == (75, "main_contrastive.py digits 'a b'")
    assert third["devices"] == "1 x cpu, 32-true"
    assert {"torch", "python"} <= third["versions"].keys()
    assert third["processor"].endswith("cores")
    assert third["commit"] is None or len(third["commit"].rstrip("+")) == 40


def test_a_call_from_python_has_no_command_and_a_password_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command_line() is None
    monkeypatch.setattr(sys, "argv", ["cl-pretrain", "webdataset:http://me:secret@host/a.tar"])
    assert command_line() == "cl-pretrain webdataset:http://host/a.tar"


@pytest.mark.filterwarnings("default:card.json is not written")
def test_a_card_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.warns(UserWarning, match=r"card\.json is not written"), carded(tmp_path, "cpu"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"starts": 3}', '{"starts": [1]}'])
def test_a_damaged_card_begins_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content)
    with carded(tmp_path, "cpu"):
        pass
    assert len(read_starts(tmp_path)) == 1


def test_other_processes_write_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "other_rank", lambda: True)
    with carded(tmp_path, "cpu") as entry:
        entry["code"] = 0
    assert list(tmp_path.iterdir()) == []


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # which is no repository
    monkeypatch.setattr(card, "PROGRAMS", tmp_path)
    monkeypatch.setattr(card, "from_clone", lambda: True)
    assert commit() is None
