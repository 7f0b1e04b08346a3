"""What a comparison will cost: a few real steps of each row are run and measured."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cl import logs, runs, summary
from cl.compare import runner
from cl.compare.cells import Cell, read_lines, reason_in
from cl.compare.warm import Program
from cl.config import Pretrain
from cl.data.loaders.sampler import Sampler
from cl.data.sets import Source
from cl.interrupts import Stop

STEPS = 6  # that are run
SHORT = "--log_every_n_steps 1 --no-baseline --no-report --wandb off".split()
FIRST = 2  # of them that are slower: memory is allocated, kernels are chosen
START = 15  # s that a program takes to begin


@dataclass(frozen=True)
class Cost:
    """What the pretraining of each row costs.

    Args:
        seconds: a step of each row.
        steps: of each row's run.
        size: of each row's folder in bytes.
    """

    seconds: dict[str, float]
    steps: dict[str, int]
    size: dict[str, int]

    def minutes(self, cells: Sequence[Cell], jobs: int) -> float:
        """Of the pretraining of some cells, so many at a time; evaluations come on top."""
        each = (
            START + self.seconds[c.row.name] * self.steps[c.row.name] for c in cells if c.pretrain
        )
        return sum(each) / 60 / jobs

    def lines(self, cells: Sequence[Cell], left: Sequence[Cell], jobs: int) -> Iterator[str]:
        """What is said before a start."""
        for row, steps in self.steps.items():
            said = (
                f"{1000 * self.seconds[row]:.0f} ms a step, {steps} steps" if steps else "no steps"
            )
            yield f"{row}: {said}, {self.size[row] / 1e6:.1f} MB"
        total = sum(self.size[c.row.name] for c in left if c.row.name in self.size)
        yield (
            f"{len(cells)} cells, {len(left)} to run, {jobs} at a time: about "
            f"{self.minutes(left, jobs):.0f} minutes of pretraining, before evaluations; "
            f"{total / 1e6:.0f} MB on disk"
        )


def measure(
    cells: Sequence[Cell],
    load: Callable[[Pretrain], Source],
    say: Callable[[str], None],
    gpu: int | None = None,
) -> Cost:
    """Begin a run of each row that is pretrained, in a temporary folder, and end it after `STEPS`.

    Args:
        cells: that are to be run.
        load: gives the data of a configuration.
        say: prints a line.
        gpu: the one to use; None leaves the choice to the program.

    Raises:
        ValueError: a row cannot be trained.
        Stop: a signal came.
    """
    cost = Cost({}, {}, {})
    rows = {cell.row.name: cell for cell in cells if cell.pretrain}
    first = {name: next(c for c in cells if c.row.name == name) for name in rows}
    for name, cell in first.items():
        say(f"measuring {name}")
        config, batch = cell.training, cell.training.global_batch()
        sampler = Sampler(len(load(config).train), batch, config.seed, fill=config.last_batch_fill)
        with tempfile.TemporaryDirectory() as folder:
            words = [*cell.pretrain, *SHORT, "--output", folder, "--run_id", "measured"]
            words += [] if gpu is None else ["--gpus", str(gpu)]
            run, log = Path(folder) / "measured", Path(folder) / "log"
            code = begin([runner.program(runner.PRETRAIN), *words], run / runs.METRICS, log)
            if code not in (0, 128 + signal.SIGTERM):
                raise ValueError(f"row {name}: {reason_in(read_lines(log))}")
            found = logs.read_metrics(run / runs.METRICS) if (run / runs.METRICS).exists() else []
            size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
        rates = [float(row["images_per_s"]) for row in found if row.get("images_per_s")]
        cost.seconds[name] = batch / median(rates[FIRST:] or rates or [batch])
        cost.steps[name], cost.size[name] = summary.planned(config, len(sampler)), size
    return cost


def begin(words: Sequence[str], metrics: Path, log: Path) -> int:
    """Start a pretraining and end it at a step's end, once it has done so many.

    Args:
        words: the program's.
        metrics: the file in which it writes a line for each step, behind one of names.
        log: what it prints.

    Returns:
        Its exit code.

    Raises:
        Stop: a signal came, for which the program was ended too.
    """
    came = list[int]()
    before = {n: signal.signal(n, lambda n, _: came.append(n)) for n in runner.SIGNALS}
    log.touch()
    handle, ended = os.open(log, os.O_RDONLY), False  # there is no lock that it would keep
    try:
        program = Program(words, log, handle)
        while program.code is None:
            enough = metrics.exists() and len(metrics.read_bytes().splitlines()) > STEPS
            if not ended and (came or enough):
                program.end(signal.SIGTERM)
                ended = True
            time.sleep(0.05)
    finally:
        os.close(handle)
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise Stop("ended while it measured; nothing was started", 128 + came[0])
    return program.code
