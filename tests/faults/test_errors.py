"""One of several processes gets no batch: all save the step before, and one line says why."""

import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import RUN, Act, Ranks, gone, same

STEP = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run of two processes."""
    ranks = Ranks(RUN, tmp_path_factory.mktemp("whole"), "whole", world=2)
    assert ranks.end() == [0, 0], ranks.said()
    return ranks.folder


def at_step(trainer: Any, rank: int) -> bool:
    return trainer.global_step == STEP and trainer.global_rank == rank


def kill_workers(trainer: Any) -> None:
    if at_step(trainer, 1):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)


def fail_first(trainer: Any) -> None:
    if at_step(trainer, 0):
        trainer.train_dataloader.batch = unreadable


def fail_last(trainer: Any) -> None:
    if at_step(trainer, 1):
        trainer.train_dataloader.batch = unreadable


def unreadable(*_: Any) -> None:
    raise ValueError("Caught ValueError in worker.\nTraceback\nb.png cannot be read as an image")


@pytest.mark.parametrize(
    ("act", "rank", "code", "why"),
    [
        # Whichever of torch's two messages comes first.
        (kill_workers, 1, 1, "exited unexpectedly|killed by signal"),
        pytest.param(
            *(fail_first, 0, 2, "b.png cannot be read as an image; step 9 is saved"),
            marks=pytest.mark.slow,
        ),
        (fail_last, 1, 2, "b.png cannot be read as an image; step 9 is saved"),
    ],
)
def test_the_step_before_is_saved(
    act: Act, rank: int, code: int, why: str, whole: Path, tmp_path: Path
) -> None:
    ranks = Ranks(RUN, tmp_path, "run", world=2, act=act)
    groups = [process.pid or 0 for process in ranks.processes]
    assert ranks.end(60) == [code, code], ranks.said()
    first, second = ranks.said()
    assert f"process {rank} of 2 on {os.uname().nodename}: " in first
    assert re.search(why, first), first
    assert "go on with: " in first
    assert "Traceback" not in first + second
    assert all(gone(group, 5) for group in groups)
    again = Ranks([*RUN, "--auto_resume"], tmp_path, "run", world=2)
    assert again.end() == [0, 0], again.said()
    assert same(again.folder, whole)
