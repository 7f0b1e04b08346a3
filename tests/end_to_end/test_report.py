"""A run writes its page and is held while it is written; a page that fails changes nothing."""

import os
from pathlib import Path

import pytest

from cl import runs
from cl.callbacks.geometry import Geometry
from cl.runs.listing import read_run
from main_contrastive import main
from main_linear import main as evaluate

pytestmark = pytest.mark.usefixtures("reports")
SHORT = "--max_steps 2 --no-baseline --wandb off"


def call(words: list[str], output: Path, name: str) -> Path:
    assert main([*words, *SHORT.split(), "--output", str(output), "--run_id", name]) == 0
    return output / name


def test_programs_write_a_page(
    digits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    look = Geometry.look
    monkeypatch.setattr(
        Geometry, "look", lambda *a: (held.append(runs.is_running(tmp_path / "a")), look(*a))[1]
    )
    folder = call(digits, tmp_path, "a")
    assert held == [True]
    assert not runs.is_running(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "Training loss" in text
    assert text.count("data:image/") == 1  # the views
    assert read_run(folder).state == "done"
    words = "digits resnet6_w8 --eval knn --wandb off --precision 32 --num_workers 1".split()
    words += ["--output", str(tmp_path), "--pretrained_feature_extractor", str(folder)]
    assert evaluate([*words, "--run_id", "e"]) == 0
    assert "95 % of test images" in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert read_run(tmp_path / "e").state == "done"


@pytest.mark.filterwarnings("default:report.html is not written")
def test_a_page_that_fails_changes_no_exit_code(
    digits: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cl.report.write_report", full)
    folder = call(digits, tmp_path, "a")
    assert "warning: report.html is not written: [Errno 28] No space" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_a_run_is_not_written_by_two(
    digits: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = call([*digits, "--no-report"], tmp_path, "a")
    with runs.hold(folder):
        words = ["--config", str(folder / "config.json"), "--resume_training_from", str(folder)]
        assert main([*words, "--wandb", "off"]) == 2
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
