"""A run that is killed at any step, or while its checkpoint is written, goes on bit for bit."""

import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cl.checkpoints import SafeIO
from tests.faults.processes import RUN, Ranks, same

STEPS = ["--checkpoint_every", "5", "--checkpoint_unit", "steps"]
MEMORY = ["--backend", "memory", "--num_workers", "0"]
Act = Callable[[int, Any], None]


def kill(step: int, trainer: Any) -> None:
    if trainer.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write(step: int, trainer: Any) -> None:
    """When all of the new file is written and nothing of it is sure to be on the disk."""
    if trainer.global_step == step:
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "more"),
    [
        (kill, MEMORY),
        (kill, []),  # with two worker processes
        (kill, ["--num_workers", "0"]),
        (kill, [*MEMORY, "--max_steps", "30"]),
        (kill_in_write, MEMORY),
    ],
)
def test_the_same_command_goes_on(act: Act, more: list[str], tmp_path: Path) -> None:
    words = [*RUN, *STEPS, *more, "--auto_resume"]
    whole = Ranks(words, tmp_path, "whole")
    assert whole.end() == [0], whole.said()
    first, second = sorted(random.Random(" ".join(more)).sample(range(6, 29), 2))
    for step in (first, second):
        run = Ranks(words, tmp_path, "run", act=partial(act, step))
        assert run.end() == [-signal.SIGKILL], run.said()
        last = SafeIO().load_checkpoint(run.folder / "last.ckpt")["global_step"]
        assert last <= step < last + 11  # the newest one may still have been written
        assert (run.folder / "last.new").exists() == (act is kill_in_write)
    run = Ranks(words, tmp_path, "run")
    assert run.end() == [0], run.said()
    assert same(run.folder, whole.folder)
