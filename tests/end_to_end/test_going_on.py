"""Runs that go on with other settings on purpose, and one that another process still trains."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main_contrastive
from cl.metrics import read_metrics
from tests.faults.processes import RUN, Ranks

Run = Callable[..., Path]


def test_another_learning_rate_is_used_and_recorded(
    pretrain: Run, digits: list[str], capsys: pytest.CaptureFixture
) -> None:
    steps = ["--log_every_n_steps", "1", "--scheduler", "warmup_none", "--no-baseline"]
    run = pretrain(*digits, *steps, "--warmup_epochs", "0", "--lr", "0.1", "--max_steps", "2")
    words = ["--config", run, "--resume_training_from", run, "--max_steps", 4, "--lr", 0.02]
    assert main_contrastive.main([*map(str, words)]) == 2
    assert "--override changes all of it on purpose" in capsys.readouterr().err
    assert json.loads((run / "config.json").read_text())["lr"] == 0.1
    assert main_contrastive.main([*map(str, words), "--override"]) == 0
    assert "goes on with --lr 0.02, was 0.1; --max_steps 4, was 2" in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert (config["lr"], config["max_steps"]) == (0.02, 4)
    rates = [float(row["lr"]) for row in read_metrics(run / "metrics.csv")]
    assert rates[-1] == pytest.approx(rates[0] / 5)


def wait(trainer: Any) -> None:
    if trainer.global_step == 3:
        time.sleep(120)


@pytest.mark.slow
def test_a_run_that_still_trains_is_not_resumed_by_another_process(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    steps = ["--checkpoint_every", "1", "--checkpoint_unit", "steps", "--num_workers", "0"]
    first = Ranks([*RUN, *steps], tmp_path, "run", act=wait)
    until = time.monotonic() + 60
    while len(read_metrics(first.folder / "metrics.csv")) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    before = (first.folder / "metrics.csv").read_bytes()
    assert main_contrastive.main(["--resume_training_from", str(first.folder)]) == 2
    assert f"process {first.processes[0].pid}" in capsys.readouterr().err
    assert (first.folder / "metrics.csv").read_bytes().startswith(before)
    first.end(0)
