"""A signal to all processes of a job: workers outlive it, the step is saved, nobody is left."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cl.checkpoints import io
from tests.faults.processes import RUN, Ranks, children, gone, group_signal, same

ASKED = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    ranks = Ranks(RUN, tmp_path_factory.mktemp("whole"), "whole")
    assert ranks.end() == [0], ranks.said()
    return ranks.folder


@pytest.mark.parametrize("number", ASKED, ids=lambda number: number.name)
def test_the_step_is_saved_and_the_run_goes_on(
    number: signal.Signals, whole: Path, tmp_path: Path
) -> None:
    ranks = Ranks(RUN, tmp_path, "run", act=group_signal(9, number))
    (group,) = [process.pid or 0 for process in ranks.processes]
    assert ranks.end() == [128 + number], ranks.said()
    assert f"{number.name}: step 9 is saved" in ranks.said()[0]
    assert "Traceback" not in ranks.said()[0]
    assert gone(group, 5)
    again = Ranks([*RUN, "--auto_resume"], tmp_path, "run")
    assert again.end() == [0], again.said()
    assert same(again.folder, whole)


def end_last(trainer: Any) -> None:
    if trainer.global_step == 9 and trainer.global_rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_signal_to_one_of_two_processes_ends_both_at_the_same_step(tmp_path: Path) -> None:
    ranks = Ranks(RUN, tmp_path, "run", world=2, act=end_last)
    assert ranks.end() == [143, 143], ranks.said()
    assert "SIGTERM: step 9 is saved" in ranks.said()[0]
    saved = torch.load(ranks.folder / "last.ckpt", weights_only=True)
    assert (saved["global_step"], len(saved["random"])) == (9, 2)


def end_last_while_the_first_writes(trainer: Any) -> None:
    if trainer.global_step == 9 and trainer.global_rank == 0:
        write = io.write_checkpoint

        def slowly(*given: Any) -> None:
            time.sleep(15)
            write(*given)

        io.write_checkpoint = slowly
    end_last(trainer)


@pytest.mark.slow
def test_no_process_ends_before_the_first_one_has_written(tmp_path: Path) -> None:
    """A launcher ends the others when one has ended."""
    words = [*RUN, "--checkpoint_every", "5", "--checkpoint_unit", "steps"]
    ranks = Ranks(words, tmp_path, "run", world=2, act=end_last_while_the_first_writes)
    ranks.processes[1].join(100)
    assert ranks.processes[1].exitcode == 143, ranks.said()
    saved = torch.load(ranks.folder / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 9
    assert ranks.end() == [143, 143], ranks.said()


def wait(trainer: object) -> None:
    if getattr(trainer, "global_step") == 3:  # noqa: B009
        time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda n: n.name)
def test_no_worker_outlives_a_killed_trainer(number: signal.Signals, tmp_path: Path) -> None:
    """Also one whose batches nobody fetches any more, and where two signals are one too many."""
    ranks = Ranks(RUN, tmp_path, "run", act=wait)
    (group,) = [process.pid or 0 for process in ranks.processes]
    until = time.monotonic() + 60
    while len(children(group)) < 3 and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    workers = [each for each in children(group) if each != group]
    assert len(workers) >= 2, ranks.said()
    for worker in workers:
        os.kill(worker, signal.SIGTERM)  # somebody else's
    time.sleep(1.5)
    assert all(each in children(group) for each in workers)
    os.kill(group, number)
    os.kill(group, signal.SIGKILL)
    assert gone(group, 10)
