"""Runs the cells that are missing, each as child processes of its own with their own logs."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from cl import checkpoints
from cl.compare.cells import EXIT, LOCK, PRETRAIN_LOG, Cell
from cl.compare.locks import acquire
from cl.compare.warm import Program
from cl.config.programs import INSTALLED, PROGRAMS, from_clone

PRETRAIN, EVALUATE, _ = INSTALLED
SIGNALS = signal.SIGINT, signal.SIGTERM
WAIT = 0.2  # s between two looks at the children


class Runner:
    """Works through cells, several at a time.

    SIGINT and SIGTERM end the children at a step's end, and then the runner.

    Args:
        cells: what is to be done, in this order.
        jobs: how many at a time.
        gpus: whose GPUs the jobs take turns on; none leaves the choice to the programs.
        say: prints a line.
    """

    def __init__(
        self, cells: Sequence[Cell], jobs: int, gpus: Sequence[int], say: Callable[[str], None]
    ) -> None:
        self.left, self.say, self.total, self.jobs = list(cells), say, len(cells), jobs
        self.free: list[int | None] = [gpus[i % len(gpus)] if gpus else None for i in range(jobs)]
        self.working: list[Job] = []
        self.signal, self.passed_on = 0, True

    def run(self) -> int:
        """Work until nothing is left.

        Returns:
            The number of the signal that ended it early; else 0.
        """
        before = {n: signal.signal(n, self.note) for n in SIGNALS}
        try:
            while self.working or (self.left and not self.signal):
                self.start()
                time.sleep(WAIT)
                self.pass_on()
                self.collect()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.signal

    def note(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal: what has not begun is not started."""
        self.signal, self.passed_on = number, False

    def pass_on(self) -> None:
        """Pass a signal on to the children, those too that were about to begin when it came."""
        if not self.passed_on:
            self.passed_on = True
            for job in self.working:
                job.end(self.signal)

    def start(self) -> None:
        """Start cells on what is free."""
        for cell in [*self.left]:
            if not self.free or self.signal:
                return
            lock = acquire(cell.folder / LOCK)
            if lock is None:
                continue  # the child of a caller that was killed has it: it is waited for
            self.left.remove(cell)
            number = self.total - len(self.left)
            self.say(f"[{number}/{self.total}] {cell.name}: {cell.folder.name}")
            self.working.append(Job(cell, lock, self.free.pop(0), self.jobs))

    def collect(self) -> None:
        """Take note of what has ended."""
        for job in [*self.working]:
            if job.goes_on(stop=bool(self.signal)):
                continue
            self.working.remove(job)
            os.close(job.lock)
            self.free.append(job.gpu)
            cell, seconds = job.cell, time.monotonic() - job.since
            said = f": {cell.reason}" * bool(cell.reason)
            self.say(f"{cell.name}: {cell.state} after {seconds:.0f} s{said}")


class Job:
    """A cell that is worked on: its pretraining, then its evaluation.

    Args:
        cell: which one.
        lock: the descriptor of its lock, which the programs inherit.
        gpu: the GPU to use; None leaves the choice to the program.
        jobs: how many are worked on at a time, for the log.
    """

    def __init__(self, cell: Cell, lock: int, gpu: int | None, jobs: int) -> None:
        self.cell, self.lock, self.gpu, self.jobs = cell, lock, gpu, jobs
        self.since = time.monotonic()
        self.steps = commands(cell)
        self.program: Program | None = None
        self.log = Path()

    def goes_on(self, *, stop: bool) -> bool:
        """Whether there is more to do; the next step is started where one has ended well."""
        if self.program:
            code = self.program.code
            if code is None:
                return True
            with self.log.open("a") as log:
                log.write(f"\n{EXIT}{code}, {self.program.memory} MB, {self.jobs} at a time\n")
            self.program = None
            if code:
                return False
        if stop:
            return False
        step = next(self.steps, None)
        if step is None:
            return False
        self.log, words = step
        gpu = ["--gpus", str(self.gpu)] if self.gpu is not None else []
        self.program = Program([*words, *gpu], self.log, self.lock, self.threads())
        return True

    def threads(self) -> int | None:
        """Its part of the processor's cores, where it is not alone and nobody has said."""
        if self.jobs == 1 or "OMP_NUM_THREADS" in os.environ:
            return None
        return max(1, (os.cpu_count() or 1) // self.jobs)

    def end(self, number: int) -> None:
        """Ask the program and its processes to end at the end of a step."""
        if self.program:
            self.program.end(number)


def commands(cell: Cell) -> Iterator[tuple[Path, list[str]]]:
    """What is left to do for a cell: the log and the words of each step, made when it is due."""
    if not cell.pretrained:
        words = [program(PRETRAIN), *cell.pretrain]
        if (cell.folder / checkpoints.LAST).exists():
            words += ["--resume_training_from", str(cell.folder)]
        else:  # nothing was saved: it starts anew
            for file in cell.folder.iterdir():
                if file.name not in (LOCK, PRETRAIN_LOG):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        yield cell.folder / PRETRAIN_LOG, words
    if cell.results.exists():  # an evaluation that was not finished starts anew
        shutil.rmtree(cell.results)
    yield cell.evaluate_log, [program(EVALUATE), *cell.evaluate]


def program(name: str) -> str:
    """The file of a program, which is found from any folder."""
    if from_clone():
        return str(PROGRAMS / name)
    return str(Path(sys.executable).with_name(INSTALLED[name]))
