"""Processes that train together look whether the others live, so that a silent one has a name."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from cl import distributed
from cl.config.machine import is_of_machine, sentence_of
from cl.interrupts import interrupts

BEAT = 1.0  # seconds between two signs of life
QUIET = 8.0  # seconds after which a process that was lost has shown none
LATE = 30.0  # seconds after the timeout, in which the library's own has ended what waited
GONE = 60.0  # seconds without a sign of life after which GPUs are not waited for any longer
LOST = 1  # exit code of those whom another process has left


class Peers(Callback):
    """Tells who of several processes is silent or has failed, where the others wait for it.

    Each process gives a sign of life every second, from a thread. The first one looks at all of
    them and the others at the first. Where one has failed inside of a step it is too late to
    exchange anything: each leaves its part of the step before, by which the first one saves it.

    A collective operation that waits for longer than the timeout, or whose partner has ended, is an
    error of the library's, which names nobody: `why` does. Where nothing raises such an error
    another thread ends the process; it reads a clock and nothing else, since a question to a host
    that cannot be reached stays without an answer. On GPUs nothing does: the main thread waits
    inside of CUDA, and after the timeout NCCL aborts the process without a name. There that thread
    acts as soon as another process has failed, or was silent for a minute.

    Args:
        minutes: the timeout.

    Attributes:
        advice: says how to go on, also where a thread ends the process.
        part: gives what this process has of a checkpoint, None where it has none.
        writes: says whether a checkpoint is being written, whose end is waited for.
    """

    def __init__(self, minutes: float) -> None:
        self.limit = 60 * minutes
        self.hosts: list[Any] = []
        self.heard: dict[int, float] = {}  # by rank: when it last gave a sign of life
        self.failure = ""  # what this process tells the others of an error of its own
        self.failed = ""  # the error of another process
        self.on_gpu = False
        self.over = threading.Event()
        self.looks = threading.Thread()
        self.advice: Callable[[], str] = str
        self.part: Callable[[], Any] = lambda: None
        self.writes: Callable[[], bool] = lambda: False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if distributed.world_size() == 1 or self.hosts:
            return
        self.on_gpu = pl_module.device.type == "cuda"
        own = socket.gethostname(), trainer.num_training_batches
        each: list[Any] = distributed.gather_objects(own)
        if len({batches for _, batches in each}) > 1:
            numbers = ", ".join(str(batches) for _, batches in each)
            raise ValueError(
                f"the processes have {numbers} batches an epoch; each must have as many as the "
                f"others: torch.utils.data.DistributedSampler sees to that"
            )
        self.hosts = [host for host, _ in each]
        others = range(1, len(self.hosts)) if distributed.rank() == 0 else [0]
        self.heard = dict.fromkeys(others, time.monotonic())
        leave_others_to_themselves()
        board = distributed.Board()  # now: with the first process gone there is none
        self.looks = threading.Thread(target=self.look, args=(board,), daemon=True)
        self.looks.start()
        threading.Thread(target=self.watch, daemon=True).start()

    def look(self, board: distributed.Board) -> None:
        """Give signs of life and look at those of others, until the end or that of the board.

        Args:
            board: of this thread.
        """
        own, seen = distributed.rank(), dict.fromkeys(self.heard, "")
        with suppress(RuntimeError):  # the board has gone with the first process
            for beat in count():
                board.write(f"beat/{own}", str(beat))
                words = {other: board.read(f"beat/{other}") for other in seen}
                failed = board.read("failed")
                if failed and own and not (self.failed or self.failure):
                    board.send(f"part/{own}", self.part())
                self.failed = failed
                now = time.monotonic()
                self.heard.update({other: now for other in seen if words[other] != seen[other]})
                seen = words
                if self.over.wait(BEAT):
                    break

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Tell the others of an error of our own, and leave them our part of the checkpoint."""
        if not self.hosts or not isinstance(exception, Exception):
            return
        interrupts.wait()  # a launcher that ends what is left of a run must not end this
        if distributed.is_of_others(exception):
            return
        lines = str(exception).strip().splitlines() or [""]
        what = f"{type(exception).__name__}: {lines[-1]}"
        what = sentence_of(exception) if is_of_machine(exception) else what
        self.failure = f"{self.name(distributed.rank())} has failed: {what}"
        with suppress(RuntimeError):  # the board has gone with the first process
            board = distributed.Board()
            board.send(f"part/{distributed.rank()}", self.part())
            board.write("failed", self.failure)

    def collect(self) -> list[Any]:
        """The parts of all processes, in their order; of one that is lost, and our own: None."""
        board, until = distributed.Board(), time.monotonic() + 2 * QUIET
        keys = [f"part/{rank}" for rank in self.heard]
        while not all(board.read(key) for key in keys):
            if time.monotonic() > until or self.silent(QUIET):
                break
            time.sleep(BEAT / 4)
        return [None, *(board.receive(key) for key in keys)]

    def watch(self) -> None:
        """End the process where another one is silent or has failed and the library does not."""
        last, waited = time.monotonic(), 0.0  # seconds since a failure is known
        while not self.over.wait(BEAT):
            passed, last = time.monotonic() - last, time.monotonic()
            if passed > QUIET:  # all of the job was stopped for a while
                self.heard = dict.fromkeys(self.heard, last)
            limit = min(GONE, self.limit) if self.on_gpu else self.limit + LATE
            lost = [self.describe(rank) for rank in self.silent(limit)]
            waited += passed * bool(self.on_gpu and self.known_failure())
            if waited > LATE:  # an exception would have ended it by now
                lost.append(self.known_failure())
            if lost and not self.writes():
                sys.stderr.write(f"{lost[0]}\n{self.advice()}\n")
                sys.stderr.flush()
                os._exit(LOST)

    def known_failure(self) -> str:
        """What is known to have ended the training of all: our own error, or another's."""
        ended = "" if self.looks.is_alive() else f"{self.name(0)} has ended"
        return self.failure or self.failed or ended

    def end(self) -> None:
        """Look no more; a thread that waits for a lost host is left to itself."""
        self.over.set()
        if self.looks.is_alive():
            self.looks.join(QUIET)

    def silent(self, seconds: float) -> list[int]:
        """The processes without a sign of life for so long."""
        now = time.monotonic()
        return [rank for rank, heard in self.heard.items() if now - heard > seconds]

    def describe(self, rank: int) -> str:
        """The sentence about a silent process."""
        seconds = time.monotonic() - self.heard[rank]
        return (
            f"{self.name(rank)} has given no sign of life for {seconds:.0f} s: it was killed, "
            f"hangs or cannot be reached"
        )

    def name(self, rank: int) -> str:
        """A process, in words."""
        return f"process {rank} of {len(self.hosts)} on {self.hosts[rank]}"

    def why(self, error: Exception) -> tuple[str, int] | None:
        """Which process was lost, and the rank that is to say so; None of an error of our own.

        Args:
            error: what has ended the training on this process.
        """
        if not self.hosts or self.failure:
            return None
        interrupts.wait()  # as above
        own = distributed.rank()
        until = time.monotonic() + 2 * QUIET
        while time.monotonic() < until and self.looks.is_alive():
            if self.failed:
                return self.failed, 0
            if silent := self.silent(QUIET):
                return self.describe(silent[0]), min({0, 1} - {silent[0]})
            time.sleep(BEAT / 4)
        if own:
            return f"{self.name(0)} has ended", 1
        return f"the connection to another process was lost: {str(error).splitlines()[0]}", 0


def leave_others_to_themselves() -> None:
    """Take off Lightning's thread that kills all processes seconds after the end of one.

    The others would have no time to save a step, nor to say who has ended.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # pyright: ignore[reportAttributeAccessIssue]
