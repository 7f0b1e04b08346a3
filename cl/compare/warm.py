"""Python programs in processes that have imported what programs need.

A server process imports it once, and each program is a copy of it: it starts in a tenth of a
second instead of the ten that imports take, and is otherwise what `python PROGRAM WORDS` is.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from ctypes import c_int64
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cl.train", "cl.evaluation"])


class Program:
    """A program that runs.

    Args:
        words: the path of a Python file and its arguments.
        log: what it writes is added there.
        lock: a descriptor that stays open as long as the program or one of its processes runs.
        threads: how many it computes with; None leaves that to it.
    """

    def __init__(
        self, words: Sequence[str], log: Path, lock: int, threads: int | None = None
    ) -> None:
        self.peak = CONTEXT.RawValue(c_int64, 0)
        self.process = CONTEXT.Process(
            target=execute, args=(list(words), log, DupFd(lock), threads, self.peak)
        )
        self.process.start()

    @property
    def code(self) -> int | None:
        """The exit code, below 0 of a signal; None while it runs."""
        return self.process.exitcode

    @property
    def memory(self) -> int:
        """The peak of the memory in MB, of the largest of its processes; 0 where it was killed."""
        return self.peak.value // 10**6

    def end(self, number: int) -> None:
        """Send a signal to it and to its processes."""
        pid = self.process.pid or 0
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # it has just begun, without a group of its own, or just ended
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def execute(words: list[str], log: Path, lock: Any, threads: int | None, peak: Any) -> None:
    """What the copy of the server does."""
    os.setsid()  # the terminal's Ctrl-C is for the caller, who passes it on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(None, force=True)  # of worker processes: the system's own
    lock.detach()
    with log.open("a") as out, open(os.devnull) as nothing:  # noqa: PTH123 - no folder's file
        for stream, number in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(stream.fileno(), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that it starts
        import torch

        torch.set_num_threads(threads)
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        most = max(
            resource.getrusage(w).ru_maxrss
            for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        peak.value = most * (1 if sys.platform == "darwin" else 1024)
