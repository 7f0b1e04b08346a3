"""One of several processes is killed or hangs: the others end, and its name is said."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cl.callbacks import peers
from cl.callbacks.saver import peers_of
from tests.faults.processes import RUN, Act, Ranks

STEP = 9


def at_step(trainer: Any, rank: int) -> bool:
    return trainer.global_step == STEP and trainer.global_rank == rank


def kill_last(trainer: Any) -> None:
    if at_step(trainer, 1):
        os.kill(os.getpid(), signal.SIGKILL)


def kill_first(trainer: Any) -> None:
    if at_step(trainer, 0):
        time.sleep(2)  # until it has given a sign of life
        os.kill(os.getpid(), signal.SIGKILL)


def stop_last(trainer: Any) -> None:
    if at_step(trainer, 1):
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGSTOP)


def fail_after_a_step(trainer: Any) -> None:
    if at_step(trainer, 1):
        raise KeyError("a name")


def wait_as_on_gpus(trainer: Any) -> None:
    """The first one waits inside of its step, where no exchange ends it."""
    peers.LATE = 2.0
    known = peers_of(trainer)
    assert known is not None
    known.on_gpu = True
    if at_step(trainer, 1):
        raise KeyError("a name")
    if at_step(trainer, 0):
        time.sleep(300)


def test_a_failure_ends_what_waits_inside_of_a_gpu(tmp_path: Path) -> None:
    """With the failure's own words, long before the timeout."""
    ranks = Ranks([*RUN, "--timeout", "5"], tmp_path, "run", world=2, act=wait_as_on_gpus)
    other = ranks.processes[0]
    other.join(100)
    assert other.exitcode == 1, ranks.said()
    said = ranks.said()[0]
    assert "process 1 of 2" in said
    assert "has failed: KeyError: 'a name'" in said
    ranks.end(5)


@pytest.mark.parametrize(
    ("act", "lost", "why"),
    [
        (kill_last, 1, "has given no sign of life for"),
        pytest.param(*(kill_first, 0, "has "), marks=pytest.mark.slow),
        pytest.param(*(stop_last, 1, "has given no sign of life for"), marks=pytest.mark.slow),
        pytest.param(
            *(fail_after_a_step, 1, "has failed: KeyError: 'a name'; step 9 is NOT saved"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_others_end_and_say_whom_they_lost(
    act: Act, lost: int, why: str, tmp_path: Path
) -> None:
    words = [*RUN, "--timeout", "0.5", "--checkpoint_every", "5", "--checkpoint_unit", "steps"]
    ranks = Ranks(words, tmp_path, "run", world=2, act=act)
    other = ranks.processes[1 - lost]
    other.join(100)
    assert other.exitcode == 1, ranks.said()
    said = ranks.said()[1 - lost]
    assert f"process {lost} of 2 on {os.uname().nodename} {why}" in said
    assert "go on with: " in said
    assert "Traceback" not in said
    ranks.end(5)


def lose_one_save(trainer: Any) -> None:
    """The first process has no room for a checkpoint of the second epoch."""
    if at_step(trainer, 0):
        saved = torch.save

        def write(content: Any, file: Any, **options: Any) -> None:
            if isinstance(content, dict) and content.get("epoch") == 1:
                raise RuntimeError("file write failed")
            saved(content, file, **options)

        torch.save = write


@pytest.mark.slow
def test_all_processes_know_what_the_first_one_could_not_keep(tmp_path: Path) -> None:
    """A process that takes an epoch for the best one would wait for the others to save it."""
    words = [*RUN, "--keep_best", "1", "--checkpoint_every", "9", "--epochs", "6"]
    ranks = Ranks(words, tmp_path, "run", world=2, act=lose_one_save)
    assert ranks.end() == [0, 0], ranks.said()
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["callbacks"]["Saver"]
    assert {p.name for p in (tmp_path / "run").glob("best-*.ckpt")} == {*state["best"]}
    assert "is NOT saved" in ranks.said()[0]
