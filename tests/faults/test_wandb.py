"""wandb breaks in every way, and the training goes on."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cl.config.check import installed
from cl.metrics import read_metrics
from tests.faults.processes import RUN, Act, Ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed("wandb"), reason="wandb is not installed"),
]


def kill_service(trainer: Any) -> None:
    """Kill the process by which wandb writes."""
    if trainer.global_step == 5:
        killed = [child for child in children_of(os.getpid()) if "wandb" in words_of(child)]
        assert killed
        for child in killed:
            os.kill(child, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    task = Path(f"/proc/{parent}/task")
    return [int(n) for file in task.glob("*/children") for n in file.read_text().split()]


def words_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


@pytest.mark.parametrize(
    ("mode", "act", "more", "said"),
    [
        ("auto", None, {"NETRC": "/dev/null"}, ""),  # without a key
        ("online", None, {"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, ""),
        ("offline", None, {"WANDB_DIR": "/dev/null/x"}, ""),
        ("offline", kill_service, {}, "wandb stopped"),
    ],
    ids=["no key", "no server", "no folder", "killed"],
)
def test_the_training_goes_on(
    mode: str, act: Act | None, more: dict[str, str], said: str, tmp_path: Path
) -> None:
    words = [*RUN, "--num_workers", "0"]
    words[words.index("--wandb") + 1] = mode
    more = {"HOME": str(tmp_path), **more}
    run = Ranks(words, tmp_path, "run", act=act, more=more)
    assert run.end() == [0], run.said()
    assert said in run.said()[0]
    assert "Traceback" not in run.said()[0]
    assert len(read_metrics(run.folder / "metrics.csv")) == 44
