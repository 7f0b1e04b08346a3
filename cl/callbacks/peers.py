"""Processes that train together look whether the others live, so that a silent one has a name."""

import os
import socket
import sys
import threading
import time
from itertools import count
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from cl import distributed
from cl.interrupts import interrupts

BEAT = 1.0  # seconds between two signs of life
QUIET = 8.0  # seconds after which a process that was lost has shown none
LATE = 30.0  # seconds after the timeout, in which the library's own has ended what waited
LOST = 1  # exit code of those whom another process has left


class Peers(Callback):
    """Tells who of several processes is silent or has failed, where the others wait for it.

    Each process gives a sign of life every second, from a thread. The first one looks at all of
    them and the others at the first. A collective operation that waits for longer than the timeout,
    or whose partner has ended, is an error of the library's, which names nobody: `why` does. Where
    nothing raises such an error the thread ends the process.

    Args:
        minutes: the timeout.
    """

    def __init__(self, minutes: float) -> None:
        self.limit = 60 * minutes
        self.hosts: list[Any] = []
        self.board: distributed.Board | None = None  # the training's, not the thread's
        self.heard: dict[int, float] = {}  # by rank: when it last gave a sign of life

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if distributed.world_size() > 1 and not self.hosts:
            self.hosts = distributed.gather_objects(socket.gethostname())
            self.board = distributed.Board()  # now: with the first process gone there is none
            leave_others_to_themselves()
            threading.Thread(target=self.look, args=(distributed.Board(),), daemon=True).start()

    def look(self, board: distributed.Board) -> None:
        """Give signs of life and look at those of others; in a thread.

        Args:
            board: of its own.
        """
        own = distributed.rank()
        others = range(1, len(self.hosts)) if own == 0 else [0]
        seen = dict.fromkeys(others, "")
        self.heard = dict.fromkeys(others, time.monotonic())
        for beat in count():
            try:
                board.write(f"beat/{own}", str(beat))
                words = {other: board.read(f"beat/{other}") for other in others}
            except RuntimeError:  # the board has gone with the first process
                return
            now = time.monotonic()
            self.heard.update({other: now for other in others if words[other] != seen[other]})
            seen = words
            if silent := self.silent(self.limit + LATE):
                sys.stderr.write(f"{self.describe(silent[0])}\n")
                sys.stderr.flush()
                os._exit(LOST)
            time.sleep(BEAT)

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

        The other processes get the message of an error of our own.

        Args:
            error: what has ended the training on this process.
        """
        if self.board is None:
            return None
        interrupts.wait()  # a launcher that ends what is left of a run must not end this
        board, own = self.board, distributed.rank()
        if not distributed.is_of_others(error):
            lines = str(error).strip().splitlines() or [""]
            what = f"{self.name(own)} has failed: {type(error).__name__}: {lines[-1]}"
            board.write("failed", what)
            return None
        until = time.monotonic() + 2 * QUIET
        while time.monotonic() < until:
            try:
                if failed := board.read("failed"):
                    return failed, 0
            except RuntimeError:
                break
            if silent := self.silent(QUIET):
                return self.describe(silent[0]), min({0, 1} - {silent[0]})
            time.sleep(BEAT)
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
