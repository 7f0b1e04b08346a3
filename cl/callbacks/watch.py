"""Means of the training numbers every few steps and each epoch, and the ledger of steps."""

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from cl import distributed
from cl.callbacks.finite import unless
from cl.data.loaders.given import as_batch
from cl.optim import step_limit

Sums = dict[str, torch.Tensor | float]
BAD = "train/bad_steps"  # how many steps were left out, see `FiniteSteps`


def has_watch(trainer: pl.Trainer) -> bool:
    """Whether a `Watch` writes the numbers; elsewhere they go through Lightning's `self.log`."""
    return any(isinstance(callback, Watch) for callback in trainer.callbacks)  # pyright: ignore[reportAttributeAccessIssue]


def needs_log(trainer: pl.Trainer) -> bool:
    """Whether `self.log` must reach the loggers: there are some, and no `Watch` does it."""
    return bool(trainer.loggers) and not has_watch(trainer)


class Watch(Callback):
    """Means of the training numbers every `every` steps and each epoch, to all loggers at once.

    Lightning's own `self.log` costs half a millisecond a call; this adds to tensors on the device
    and only looks at them when a row is due. It is also the ledger: an epoch that ends with other
    than the planned number of steps is an error.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.sums: Sums = {}
        self.epoch_sums: Sums = {}
        self.rate, self.since, self.samples = 0.0, time.perf_counter(), 0
        self.unit = "img"  # what the rate counts
        self.now: Sums = {}  # of the newest step, what is logged as it is, no mean
        self.shown: dict[str, float] = {}
        self.steps = 0  # of this process, none of a checkpoint

    def state_dict(self) -> dict[str, Any]:
        """The sums of the epoch so far: a resumed epoch's row is the uninterrupted one's."""
        each = {"sums": self.sums, "epoch_sums": self.epoch_sums, "now": self.now}
        own = {
            name: {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in s.items()}
            for name, s in each.items()
        }
        return {"ranks": distributed.gather_objects(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        ranks = state_dict["ranks"]
        own = ranks[distributed.rank() % len(ranks)]
        self.sums, self.epoch_sums = (dict(own[k]) for k in ("sums", "epoch_sums"))
        self.now = dict(own.get("now", {}))
        if len(ranks) != distributed.world_size():  # then each process has the mean of all
            for name, sums in (("sums", self.sums), ("epoch_sums", self.epoch_sums)):
                sums |= {k: sum(each[name][k] for each in ranks) / len(ranks) for k in sums}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for sums in (self.sums, self.epoch_sums, self.now):  # of a checkpoint they are on the CPU
            for key, value in sums.items():
                sums[key] = value.to(pl_module.device) if isinstance(value, torch.Tensor) else value
        self.since = time.perf_counter()
        if trainer.global_step == step_limit(trainer):  # a run that had ended is continued
            trainer.should_stop = True
        self.unit = getattr(getattr(trainer, "datamodule", None), "unit", self.unit)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.now = {"lr": trainer.optimizers[0].param_groups[0]["lr"]}  # which the step takes

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.now |= outputs.get("now", {})
        self.steps += 1
        self.samples += len(as_batch(batch).labels) * distributed.world_size()
        bad = outputs.get("skipped", False)
        counted = {**outputs["log"], "n": 1}
        for sums in (self.sums, self.epoch_sums):
            for key, value in counted.items():
                sums[key] = sums.get(key, 0) + unless(bad, value, 0)
            if bad is not False:
                sums[BAD] = sums.get(BAD, 0) + bad
        last, over = trainer.is_last_batch, trainer.global_step == step_limit(trainer)
        if over:
            trainer.should_stop = True  # else Lightning ends inside an epoch without validation
        if (trainer.global_step % self.every == 0 and not last) or outputs.get("over"):
            self.write(trainer, self.means(self.sums))
        if (last or over) and not trainer.enable_validation:
            self.log_loss(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.clock()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.since = time.perf_counter()  # validation is not training's time
        if self.epoch_sums:
            self.log_loss(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.epoch_sums:  # a run that had ended is continued: its row is written
            return
        planned = trainer.num_training_batches  # infinite for data without a length
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        short = planned != math.inf and done != planned
        if short and trainer.global_step != step_limit(trainer):
            raise RuntimeError(
                f"epoch {trainer.current_epoch} ended after {done} of {planned} steps"
            )
        row = {
            key: float(value)
            for key, value in trainer.callback_metrics.items()
            if key.startswith(("val/", "monitor/"))
        }
        self.write(trainer, self.means(self.epoch_sums) | row)
        self.sums.clear()

    def log_loss(self, pl_module: pl.LightningModule) -> None:
        """Log the mean loss of the epoch so far, which the schedule `reduce` follows."""
        mean = self.means(self.epoch_sums.copy()).get("train/loss", math.nan)
        pl_module.log("train/loss", mean, logger=False)

    def clock(self) -> None:
        """Bring the samples per second up to date."""
        now = time.perf_counter()
        if self.samples:
            self.rate = self.samples / (now - self.since)
        self.since, self.samples = now, 0

    def means(self, sums: Sums) -> dict[str, float]:
        """Mean over the steps and all processes; the sums start again.

        Steps that were left out have no part in it; how many these are is no mean.
        """
        n, bad = sums.pop("n"), sums.pop(BAD, 0)
        left_out = {BAD: float(bad)} if bad else {}
        names = sorted(sums)
        total = distributed.all_reduce_sum(
            torch.stack([torch.as_tensor(sums[k]).float() for k in names])
        )
        sums.clear()
        if not n:
            return left_out
        means = (total / (n * distributed.world_size())).tolist()
        return dict(zip(names, means, strict=True)) | left_out

    def write(self, trainer: pl.Trainer, row: dict[str, float]) -> None:
        if self.samples:
            self.clock()
        row["images_per_s"] = round(self.rate, 1)
        row |= {name: float(value) for name, value in self.now.items()}
        self.shown |= row
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **row}, trainer.global_step)
