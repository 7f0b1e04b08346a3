"""What a comparison will cost: a few real steps of each row are run and measured."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from cl import logs, runs, summary
from cl.callbacks.saver import Stop
from cl.compare.cells import Cell
from cl.config import Pretrain
from cl.data.loaders.sampler import Sampler
from cl.data.sets import Source
from cl.train import train

STEPS = 6  # that are run
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
    cells: Sequence[Cell], load: Callable[[Pretrain], Source], say: Callable[[str], None]
) -> Cost:
    """Run some steps of each row that is pretrained, in this process and a temporary folder.

    Args:
        cells: that are to be run.
        load: gives the data of a configuration.
        say: prints a line.

    Raises:
        ValueError: a row cannot be trained.
        Stop: a signal came.
    """
    cost = Cost({}, {}, {})
    rows = {cell.row.name: cell for cell in cells if cell.pretrain}
    first = {name: next(c for c in cells if c.row.name == name) for name in rows}
    for name, cell in first.items():
        say(f"measuring {name}")
        config, batch, source = cell.training, cell.training.global_batch(), load(cell.training)
        sampler = Sampler(len(source.train), batch, config.seed, fill=config.last_batch_fill)
        # Steps are what is measured, so little is validated.
        few = source.val.subset(np.arange(min(batch, len(source.val))))
        steps = summary.planned(config, len(sampler))
        with tempfile.TemporaryDirectory() as folder:
            short = replace(
                config,
                max_steps=min(STEPS, steps),
                log_every_n_steps=1,
                baseline=False,
                wandb="off",
                output=folder,
                run_id="measured",
            )
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    run = train(short, replace(source, val=few))
            except ValueError as error:
                raise ValueError(f"row {name}: {error}") from error
            if run.code:
                raise Stop("ended while it measured; nothing was started", run.code)
            rows_of = logs.read_metrics(run.folder / runs.METRICS)
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        rates = [float(row["images_per_s"]) for row in rows_of if row.get("images_per_s")]
        cost.seconds[name] = batch / median(rates[FIRST:] or rates or [batch])
        cost.steps[name], cost.size[name] = steps, size
    return cost
