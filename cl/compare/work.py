"""Carries a comparison out: measures, runs what is missing, writes and prints the table."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl import build, report, runs, trainer
from cl.compare import estimate, table
from cl.compare.cells import LOCK, Cell, cells_of
from cl.compare.locks import locked
from cl.compare.plan import Comparison
from cl.compare.runner import Runner
from cl.compare.seeds import name_of_seeds, plan_of_seeds
from cl.compare.words import data_words
from cl.config import Pretrain, check_environment
from cl.config.evaluations import what_lacks
from cl.data.sets import Source
from cl.runs.files import REPORT
from cl.runs.listing import find_runs

FAILED = 1  # the exit code where a cell has no value


def run_seeds(config: Pretrain, argv: Sequence[str]) -> int:
    """Run a command line once with each of its `--seeds`; the exit code back, as that of `main`.

    Args:
        config: as parsed.
        argv: its words.

    Raises:
        ValueError: nothing can be evaluated, or a run has the folder.
    """
    name, sources = name_of_seeds(config, argv), Sources()
    check_folder(config.runs_folder / name, f"--run_id {name}")
    evaluations = build.evaluations_of(sources.load(config))
    if not evaluations:
        why = f"DATASET {config.dataset} has {what_lacks(config.kind)}: run each seed by --seed"
        raise ValueError(f"--seeds summarizes evaluations, and {why}")
    plan = plan_of_seeds(config, argv, evaluations[0])
    again = runs.command_from_here("main_contrastive.py", *argv)
    return run_plan(plan, config.runs_folder / plan.name, Asked(), again, sources)


def check_folder(folder: Path, given: str) -> None:
    """Refuse a comparison in the folder of a run, which would hide the comparison's runs.

    Args:
        folder: of the comparison.
        given: what chose its name.

    Raises:
        ValueError: a run has it.
    """
    if (folder / runs.CONFIG).exists():
        raise ValueError(f"{given}: {folder} is a run, no comparison; choose another name.")


@dataclass(frozen=True)
class Asked:
    """How a comparison is carried out, see `--help`."""

    dry_run: bool = False
    jobs: int | None = None
    gpus: Sequence[int] = ()
    budget: float | None = None
    retry: bool = True


def run_plan(
    plan: Comparison,
    folder: Path,
    asked: Asked | argparse.Namespace,
    again: str,
    sources: "Sources",
) -> int:
    """Say what a plan costs, run what is missing, write and print the table.

    Args:
        plan: what is compared.
        folder: of the comparison.
        asked: how.
        again: the command that goes on with it.
        sources: the data, as far as they are loaded.
    """
    jobs = (len(asked.gpus) or 1) if asked.jobs is None else asked.jobs
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {jobs}.")
    if asked.dry_run:
        plan_work(cells_of(plan, folder, sources.load), sources, jobs, asked)
        return 0
    with locked(folder / LOCK):
        cells = cells_of(plan, folder, sources.load)
        left = plan_work(cells, sources, jobs, asked)
        signal = Runner(left, jobs, asked.gpus, trainer.say).run()
        found = table.collect(plan, cells, not_of_plan(folder, cells))
        table.write(found, folder)
        for line in ["", *table.brief(found)]:
            trainer.say(line)
        trainer.say(f"{folder / table.STEM}.md, .csv, .json{write_page(folder, found)}")
    if signal or any(cell["state"] == "interrupted" for cell in found["cells"]):
        trainer.say(f"go on with: {again}")
    if signal:
        return 128 + signal
    return 0 if all(map(table.is_done, found["cells"])) else FAILED


def plan_work(
    cells: Sequence[Cell], sources: "Sources", jobs: int, asked: Asked | argparse.Namespace
) -> list[Cell]:
    """The cells that are to be run, after what they cost was measured and said.

    Raises:
        ValueError: it would take more than `--budget`, or that is not known.
    """
    left = [c for c in cells if c.state != "done" and (asked.retry or c.state != "failed")]
    cost = estimate.measure(left, sources.load, trainer.say, next(iter(asked.gpus), None))
    for line in cost.lines(cells, left, jobs):
        trainer.say(line)
    minutes = cost.minutes(left, jobs)
    if asked.budget is not None and cost.unknown:
        rows = ", ".join(cost.unknown)
        raise ValueError(f"--budget {asked.budget:g}: no step of {rows} was measured.")
    if asked.budget is not None and minutes > asked.budget:
        raise ValueError(f"--budget {asked.budget:g}: it would take about {minutes:.0f} minutes.")
    return left


def write_page(folder: Path, found: dict[str, Any]) -> str:
    """Write the page of the comparison; its name behind a comma, or why there is none."""
    try:
        report.write_report(find_runs(folder), folder / REPORT, found)
    except Exception as error:  # hours of training weigh more than any page
        return f"; {REPORT} is not written: {error}"
    return f", {REPORT}"


class Sources:
    """Data sets, each loaded once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Source] = {}

    def load(self, config: Pretrain) -> Source:
        """The data of a configuration.

        Raises:
            ValueError: they are not there.
        """
        words = data_words(config)
        if words not in self.known:
            check_environment(config)
            source = build.load_source(config)
            assert isinstance(source, Source)  # a command line names no loader
            self.known[words] = source
        return self.known[words]


def not_of_plan(folder: Path, cells: Sequence[Cell]) -> list[str]:
    """The folders of earlier cells that this plan has no more; they are kept."""
    own = {cell.folder.name for cell in cells}
    kept = (lock.parent.name for lock in folder.glob(f"*/{LOCK}"))  # as `tokens/` has none
    return sorted(name for name in kept if name not in own)
