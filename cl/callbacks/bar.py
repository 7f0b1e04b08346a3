"""The progress a person watches: a rich bar on a terminal, one line an epoch elsewhere."""

import math
import sys
import time
from typing import Any, TextIO

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

from cl.callbacks.watch import Watch


class Bar(RichProgressBar):
    """Lightning's rich bar with loss, probe, samples per second and the time left of the run."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(leave=False)
        self.watch, self.started, self.first = watch, 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.started, self.first = time.perf_counter(), trainer.global_step

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return dict(summary(trainer, self.watch, self.started, self.first))


class Lines(Callback):
    """Where there is no terminal: one plain line an epoch."""

    def __init__(self, watch: Watch, to: TextIO | None = None) -> None:
        self.watch, self.to, self.started, self.first = watch, to, 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started, self.first = time.perf_counter(), trainer.global_step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            parts = summary(trainer, self.watch, self.started, self.first)
            line = "  ".join(f"{key} {value}" for key, value in parts.items())
            print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {line}",
                file=self.to or sys.stdout,
                flush=True,
            )


def summary(trainer: pl.Trainer, watch: Watch, started: float, first: int) -> dict[str, str]:
    """The few numbers a person watches."""
    shown = watch.shown
    parts = {"loss": f"{shown['train/loss']:.4f}"} if "train/loss" in shown else {}
    for name in ("train/probe_top1", "val/probe_top1", "val/knn_top1"):
        if name in shown:
            parts[name.replace("/", " ").replace("_top1", "")] = f"{100 * shown[name]:.1f}%"
    if "val/mrr10" in shown:
        parts["val mrr10"] = f"{shown['val/mrr10']:.3f}"
    parts[f"{watch.unit}/s"] = f"{watch.rate:.0f}"
    done = trainer.global_step - first
    left = trainer.estimated_stepping_batches - trainer.global_step
    if done and left != math.inf:  # data without a length have no end that is known
        seconds = round((time.perf_counter() - started) / done * left)
        parts["left"] = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return parts
