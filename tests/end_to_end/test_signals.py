"""Signals to a whole program, as schedulers and terminals send them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cl.metrics import read_metrics

ROOT = Path(__file__).parents[2]


def started(tmp_path: Path, words: list[str]) -> subprocess.Popen[str]:
    """The program, whose processes are a group of their own."""
    line = [*words, "--output", tmp_path, "--wandb", "off", "--run_id", "run", "--no-baseline"]
    return subprocess.Popen(
        [sys.executable, ROOT / "main_contrastive.py", *map(str, line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_the_step_is_saved(tmp_path: Path, digits: list[str], number: signal.Signals) -> None:
    digits[digits.index("--epochs") + 1] = "500"
    rows = ["--log_every_n_steps", "1", "--backend", "torch"]
    with started(tmp_path, [*digits, *rows]) as process:
        deadline = time.monotonic() + 300
        while len(read_metrics(tmp_path / "run" / "metrics.csv")) < 15:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert f"{number.name}: step " in said
    step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert f"step {step} is saved" in said
    assert step >= 15


def test_what_is_no_step_ends_at_once(tmp_path: Path, digits: list[str]) -> None:
    """While libraries are loaded, say: there is nothing to save."""
    with started(tmp_path, digits) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading PyTorch ...\n"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert "SIGTERM: ended outside of a step" in said
