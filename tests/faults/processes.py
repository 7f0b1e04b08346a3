"""Runs in processes of their own, which are copies of one that has imported everything."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

from cl.compare.warm import CONTEXT
from cl.metrics import read_metrics
from tests.distributed.exactness import free_port

Act = Callable[[Any], None]  # is given the Trainer before each step is seen to by the Saver
RUN = (
    "digits resnet6_w8 --epochs 2 --batch_size 64 --hidden_mlp 64 --encoding_size 32 "
    "--precision 32 --warmup_epochs 1 --backend torch --num_workers 2 --no-baseline --wandb off "
    "--no-report --log_every_n_steps 1"
).split()


class Ranks:
    """The processes of one run, as torchrun would start them.

    Args:
        words: of the command line.
        place: where the run's folder and what is said go.
        run_id: the folder's name.
        world: number of processes; each has a session of its own, and so a process group.
        act: what goes wrong.
        more: of the environment.
    """

    def __init__(
        self,
        words: Sequence[str],
        place: Path,
        run_id: str,
        world: int = 1,
        act: Act | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        self.folder = place / run_id
        self.logs = [place / f"{run_id}-{rank}.log" for rank in range(world)]
        argv = [*words, "--output", str(place), "--run_id", run_id]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())} | (more or {})
        self.processes = []
        for rank, log in enumerate(self.logs):
            own = environment(rank, world) | shared if world > 1 else more or {}
            process = CONTEXT.Process(target=execute, args=(argv, log, own, act))
            process.start()
            self.processes.append(process)

    def end(self, timeout: float = 120) -> list[int | None]:
        """The exit codes, below 0 of a signal; None of one that had to be ended."""
        until = time.monotonic() + timeout
        for process in self.processes:
            process.join(max(0, until - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes

    def said(self) -> list[str]:
        """What each process wrote."""
        return [log.read_text() for log in self.logs]


def environment(rank: int, world: int) -> dict[str, str]:
    """What torchrun tells a process."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    return {name: str(value) for name, value in own.items()} | {"TORCHELASTIC_RUN_ID": "none"}


def execute(argv: list[str], log: Path, own: dict[str, str], act: Act | None) -> None:
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # workers are started as ever
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # ignored by a fork server
        signal.signal(number, signal.SIG_DFL)
    with log.open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    os.environ.update(own)
    rank_zero_only.rank = int(own.get("RANK", "0"))  # was read when the server began
    torch.set_num_threads(1)
    import main_contrastive
    from cl.callbacks.saver import Saver

    see = Saver.on_train_batch_end

    def on_train_batch_end(self: Saver, trainer: Any, *rest: Any) -> None:
        if act is not None:
            act(trainer)
        see(self, trainer, *rest)

    Saver.on_train_batch_end = on_train_batch_end
    sys.exit(main_contrastive.main(argv))


def send_to_group(step: int, number: int, trainer: Any) -> None:
    """An `Act`: a scheduler's signal to all processes of the job."""
    if trainer.global_step == step:
        os.killpg(0, number)


def group_signal(step: int, number: int) -> Act:
    return partial(send_to_group, step, number)


def children(group: int) -> list[int]:
    """The processes of a group."""
    found = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def gone(group: int, timeout: float) -> bool:
    """Whether a group has no process left within some seconds."""
    until = time.monotonic() + timeout
    while children(group) and time.monotonic() < until:
        time.sleep(0.1)
    return not children(group)


def same(one: Path, other: Path) -> bool:
    """Whether two runs are the same, bit for bit."""
    weights, others = (
        torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (one, other)
    )
    rows, of_other = (
        [{k: v for k, v in row.items() if k != "images_per_s"} for row in read_metrics(file)]
        for file in (one / "metrics.csv", other / "metrics.csv")
    )
    return rows == of_other and all(torch.equal(weights[k], others[k]) for k in weights)
