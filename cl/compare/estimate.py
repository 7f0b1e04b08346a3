"""What a comparison will cost: a few real steps of each row are run and measured."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cl import checkpoints, logs, runs, summary
from cl.compare import runner
from cl.compare.cells import Cell, read_lines, reason_in
from cl.compare.warm import Program
from cl.config import Pretrain
from cl.data.loaders.sampler import Sampler
from cl.data.sets import Source
from cl.interrupts import Stop
from cl.metrics import read_newest

STEPS = 6  # that are run
# The last of a flag's values counts: a row's own --max_time ends no measurement.
SHORT = "--log_every_n_steps 1 --no-baseline --no-report --wandb off --max_time 1e6".split()
FIRST = 2  # of them that are slower: memory is allocated, kernels are chosen
START = 15  # s that a program takes to begin


@dataclass(frozen=True)
class Cost:
    """What the pretraining of each row costs.

    Args:
        seconds: a step of each row; none of a row of which no step was measured.
        steps: of each row's run.
        size: of each row's folder in bytes.
    """

    seconds: dict[str, float]
    steps: dict[str, int]
    size: dict[str, int]

    @property
    def unknown(self) -> list[str]:
        """The rows that have steps of which none was measured."""
        return [row for row, steps in self.steps.items() if steps and row not in self.seconds]

    def minutes(self, cells: Sequence[Cell], jobs: int) -> float:
        """Of what is left of the pretraining of some cells, so many at a time.

        Evaluations come on top, and the rows that are `unknown`.
        """
        each = (
            START + self.seconds.get(c.row.name, 0) * max(0, self.steps[c.row.name] - steps_done(c))
            for c in cells
            if not c.pretrained
        )
        return sum(each) / 60 / jobs

    def lines(self, cells: Sequence[Cell], left: Sequence[Cell], jobs: int) -> Iterator[str]:
        """What is said before a start."""
        for row, steps in self.steps.items():
            pace = f"{1000 * self.seconds[row]:.0f} ms a step" if row in self.seconds else ""
            said = f"{pace or 'not measured'}, {steps} steps" if steps else "no steps"
            yield f"{row}: {said}, {self.size[row] / 1e6:.1f} MB"
        total = sum(self.size[c.row.name] for c in left if not c.pretrained)
        without = f" without {', '.join(self.unknown)}" * bool(self.unknown)
        yield (
            f"{len(cells)} cells, {len(left)} to run, {jobs} at a time: about "
            f"{self.minutes(left, jobs):.0f} minutes of pretraining{without}, before evaluations; "
            f"{total / 1e6:.0f} MB on disk"
        )


def steps_done(cell: Cell) -> int:
    """The steps of a pretraining that need not be done again, as its newest row of metrics says."""
    if not (cell.folder / checkpoints.LAST).exists():
        return 0
    return int(read_newest(cell.folder / runs.METRICS).get("step", 0))


def measure(
    cells: Sequence[Cell],
    load: Callable[[Pretrain], Source],
    say: Callable[[str], None],
    gpu: int | None = None,
) -> Cost:
    """Begin a run of each row that is not yet pretrained, in a temporary folder, for `STEPS`.

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
    first = dict[str, Cell]()
    for cell in cells:
        if not cell.pretrained:
            first.setdefault(cell.row.name, cell)
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
        if rates := [rate for rate in rates if rate > 0]:
            cost.seconds[name] = batch / median(rates[FIRST:] or rates)
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
