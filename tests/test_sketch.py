"""What moves, in blocks and as a picture."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import main_contrastive
from cl import launch, sketch


def test_a_curve_that_stands_still() -> None:
    assert sketch.lines({"a": [2.0] * 5}, columns=4) == "a  2 to 2, ends at 2  ▁▁▁▁"


def test_a_terminal_without_blocks_gets_letters(
    tmp_path: Path, digits_words: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    console = Console(file=io.TextIOWrapper(file, "ascii", write_through=True), width=200)
    monkeypatch.setattr(launch, "console", console)
    assert main_contrastive.main([*digits_words(), "--dry_run", str(tmp_path / "a.png")]) == 0
    assert {*file.getvalue().split()[-1].decode()} == {*sketch.ASCII}


def test_the_picture_has_every_curve() -> None:
    one = sketch.picture({"a": [0, 1]})
    two = sketch.picture({"a": [0, 1], "b": [1, 0]})
    assert two.size == (one.width, 2 * one.height)
    gray = np.asarray(two.convert("L"))
    assert gray[: one.height].min() == gray[one.height :].min() == 0


def test_a_dry_run_leaves_a_picture_and_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture, digits_words: Callable[[], list[str]]
) -> None:
    words = [*digits_words(), "--method", "sigmoid", "--gamma", "1", "--gamma_steps", "10"]
    words += ["--output", str(tmp_path / "runs"), "--wandb", "off"]
    assert main_contrastive.main([*words, "--dry_run", str(tmp_path / "moves.png")]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[-3:]] == ["lr", "ema_beta", "gamma"]
    assert "gamma" in said
    assert not (tmp_path / "runs").exists()
    with Image.open(tmp_path / "moves.png") as picture:
        assert picture.height == 3 * (sketch.HEIGHT + 2 * sketch.EDGE)


@pytest.fixture
def digits_words() -> Callable[[], list[str]]:
    return lambda: "digits resnet6_w8 --epochs 2 --batch_size 128 --num_workers 1".split()
