"""The progress a person watches: on a terminal one line that moves, and one line an epoch."""

import math
import sys
import time
from typing import Any, TextIO

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ProgressBar
from pytorch_lightning.profilers import PassThroughProfiler
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cl.callbacks.watch import Watch
from cl.optim import step_limit

NEXT_BATCH = "[_TrainingEpochLoop].train_dataloader_next"
REFRESH = 0.1  # s, the shortest time between two pictures of the bar
NARROWEST = 5  # columns of the bar itself


class DataWait(PassThroughProfiler):
    """Counts the seconds in which the training waits for its next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.since = 0.0, 0.0

    def start(self, action_name: str) -> None:
        if action_name == NEXT_BATCH:
            self.since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name == NEXT_BATCH:
            self.seconds += time.perf_counter() - self.since


class Lines(Callback):
    """One plain line an epoch: all there is where there is no terminal.

    Args:
        watch: has the numbers.
        to: where to; by default the standard output.
        every: so many epochs lie between two that have a line; the last one has one.
    """

    def __init__(self, watch: Watch, to: TextIO | None = None, every: int = 1) -> None:
        super().__init__()
        self.watch, self.to, self.every = watch, to, every
        self.started, self.first, self.waited = 0.0, -1, 0.0
        self.last: int | None = None  # the epoch in which the run ends, counted from 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first, self.last = -1, last_epoch(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self.first < 0:  # compiling and warming up, which the first step does, is not repeated
            self.first, self.started = trainer.global_step, time.perf_counter()
            self.waited = seconds_waited(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.has_line(trainer):
            parts = self.epoch(trainer), *numbers(self.watch), *self.pace(trainer)
            print("  ".join(parts), file=self.to or sys.stdout, flush=True)

    def has_line(self, trainer: pl.Trainer) -> bool:
        """Whether the epoch that has ended gets one, on the first process."""
        done = trainer.current_epoch + 1
        return trainer.is_global_zero and (done % self.every == 0 or done == self.last)

    def epoch(self, trainer: pl.Trainer) -> str:
        """The epoch in progress, of how many."""
        return f"epoch {trainer.current_epoch + 1}" + (f"/{self.last}" if self.last else "")

    def pace(self, trainer: pl.Trainer) -> list[str]:
        """The part of the time that goes into waiting for data, and the time left of the run."""
        done, passed = trainer.global_step - self.first, time.perf_counter() - self.started
        if self.first < 0 or done <= 0 or passed <= 0:
            return []
        said = [f"data wait {(seconds_waited(trainer) - self.waited) / passed:.0%}"]
        left = end_of(trainer) - trainer.global_step
        if left == math.inf:  # data without a length have no end that is known
            return said
        seconds = round(passed / done * left)
        return [*said, f"left {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"]


class Bar(Lines, ProgressBar):
    """On a terminal: a bar of one line, above it a line for each epoch that has ended.

    Args:
        watch: has the numbers.
        console: which writes to the terminal.
        every: see `Lines`.
    """

    def __init__(self, watch: Watch, console: Console, every: int = 1) -> None:
        super().__init__(watch, every=every)
        self.console, self.enabled, self.refreshed = console, True, 0.0
        self.shown: Progress | None = None

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.refresh(self.epoch(trainer), 0, trainer.num_training_batches, *self.beside(trainer))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        total, done = trainer.num_training_batches, batch_idx + 1
        if self.is_due(done, total):
            self.refresh(self.epoch(trainer), done, total, *self.beside(trainer))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        total, done = trainer.num_val_batches[dataloader_idx], batch_idx + 1
        if self.is_due(done, total):
            self.refresh(f"{self.epoch(trainer)}  validation", done, total)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.has_line(trainer):
            line = "  ".join([self.epoch(trainer), *numbers(self.watch)])
            self.console.print(line, markup=False, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.stop()

    def beside(self, trainer: pl.Trainer) -> list[str]:
        """What stands behind the bar: what moves inside of an epoch."""
        pace = (part.removeprefix("data ") for part in self.pace(trainer))
        return [*numbers(self.watch, short=True), *pace]

    def start(self) -> None:
        """Show an empty bar."""
        if self.enabled:
            self.shown = Progress(
                TextColumn("{task.description}"),
                BarColumn(None),
                TextColumn("{task.fields[beside]}"),
                console=self.console,
                auto_refresh=False,
                transient=True,
                expand=True,
            )
            self.shown.add_task("", beside="")
            self.shown.start()

    def stop(self) -> None:
        """Take the bar away; the lines of the epochs stay."""
        if self.shown:
            self.shown.stop()
        self.shown = None

    def is_due(self, done: int, total: float) -> bool:
        """Whether the bar is to be shown anew."""
        return done == total or time.perf_counter() - self.refreshed >= REFRESH

    def refresh(self, title: str, done: int, total: float, *beside: str) -> None:
        """Show the bar, with as many of the numbers beside it as there is room for."""
        if not self.shown:
            return
        room = self.console.width - len(title) - NARROWEST - 4
        kept = [*beside]
        while kept and len("  ".join(kept)) > room:
            kept.pop(0 if len(kept) == 1 else -2)
        known = None if total == math.inf else total
        task = self.shown.task_ids[0]
        self.shown.update(
            task, description=title, completed=done, total=known, beside="  ".join(kept)
        )
        self.shown.refresh()
        self.refreshed = time.perf_counter()


def end_of(trainer: pl.Trainer) -> float:
    """The step with which the run ends; infinite where nothing says it."""
    limit, steps = step_limit(trainer), trainer.estimated_stepping_batches
    return min(steps, limit) if limit > 0 else steps


def last_epoch(trainer: pl.Trainer) -> int | None:
    """The epoch in which a run ends that starts or goes on, counted from 1.

    None where nothing says it: a limit of steps alone, of data without a length.
    """
    limit, batches, epochs = step_limit(trainer), trainer.num_training_batches, trainer.max_epochs
    planned = None if epochs is None or epochs < 0 else epochs
    if limit <= 0:
        return planned
    if batches == math.inf:
        return None
    per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
    # An epoch that an earlier limit cut short is not completed, see `cl.trainer`.
    missing = max(0, per_epoch * trainer.current_epoch - trainer.global_step)
    needed = max(1, math.ceil((limit + missing) / per_epoch))
    return needed if planned is None else min(needed, planned)


def seconds_waited(trainer: pl.Trainer) -> float:
    profiler = getattr(trainer, "profiler", None)
    return profiler.seconds if isinstance(profiler, DataWait) else 0.0


def numbers(watch: Watch, *, short: bool = False) -> list[str]:
    """The few numbers a person watches.

    Args:
        watch: has the newest ones.
        short: only those for which a bar has room.
    """
    shown = watch.shown
    said = [f"loss {shown['train/loss']:.4g}"] if "train/loss" in shown else []
    train, val = (shown.get(f"{part}/probe_top1") for part in ("train", "val"))
    if short and (val or train) is not None:
        said.append(f"probe {val or train:.1%}")
    elif train is not None or val is not None:
        parts = (("train", train), ("val", val))
        said.append("probe " + ", ".join(f"{v:.1%} {k}" for k, v in parts if v is not None))
    if not short and "val/knn_top1" in shown:
        said.append(f"knn {shown['val/knn_top1']:.1%}")
    if "val/mrr10" in shown:
        said.append(f"mrr10 {shown['val/mrr10']:.3f}")
    if "val/spearman" in shown:
        said.append(f"spearman {shown['val/spearman']:.3f}")
    return [*said, f"{watch.rate:,.0f} {watch.unit}/s"] if watch.rate else said
