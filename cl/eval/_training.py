"""What an evaluation that learns by SGD is given: how to train, on what, and where it is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch

from cl import trainer
from cl.callbacks.saver import Saver, Saving
from cl.config import Linear
from cl.config.own import is_own
from cl.eval._task import Task
from cl.interrupts import Stop
from cl.nets.norm import SyncEverywhere
from cl.optim import Optimization, written_out

PROGRAM_FILE = "main_linear.py"
PRECISION = "32-true"  # of a classifier of features, a layer this small
# A probe's epochs often take a tenth of a second.
REST = Saving(every=0.5, unit="minutes")
LINES = 10  # of such a probe's epochs, which would push all else off a screen


@dataclass(frozen=True)
class Training:
    """How a classifier is trained: the run's schedule, hardware, logs and checkpoints.

    Args:
        lr: learning rate, before it is scaled by the batch; None where it was not given.
        weight_decay: of matrices.
        epochs: passes over the data.
        max_steps: end after so many.
        clip_grad_norm: clip the norm of the gradient to this.
        batch_size: samples of all processes in a step.
        device: this process's.
        plan: from a learning rate (None: an evaluation's usual one) and a weight decay to optimizer
            and schedule.
        describe: all settings of such a training, for the protocol card.
        fit: trains a module; `cl.interrupts.Stop` is raised where it ends early.
    """

    lr: float | None
    weight_decay: float
    epochs: int
    max_steps: int | None
    clip_grad_norm: float | None
    batch_size: int
    device: torch.device
    plan: Callable[[float | None, float], Optimization]
    describe: Callable[[Optimization], dict[str, Any]]
    fit: Callable[[pl.LightningModule, pl.LightningDataModule], pl.Trainer]

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as it was given, for the protocol card."""
        return self.describe(self.plan(self.lr, self.weight_decay))


def training_of(task: Task, name: str, device: torch.device, loggers: Sequence[Any]) -> Training:
    """How an evaluation trains: as the options say, with this run's logs and checkpoints.

    Args:
        task: what is evaluated.
        name: of the evaluation.
        device: this process's.
        loggers: of the run.
    """
    config = task.config
    options = task.options | ({"precision": PRECISION} if task.of_features else {})
    several = not task.of_features and config.processes > 1
    plugins = [SyncEverywhere(options["accelerator"] == "gpu")] if several else []

    grid = config.eval_options.get("lr_grid", ())

    def plan(lr: float | None, weight_decay: float) -> Optimization:
        if lr is None and grid and config.min_lr:
            lr = grid[0]  # the usual rate is not tried, and may be below --min_lr
        o = trainer.optimization(replace(config, lr=lr, weight_decay=weight_decay))
        # One that `max_steps` may end sooner is written out when its steps are known.
        return o if config.max_steps else written_out(o, config.epochs, 1)

    def fit(module: pl.LightningModule, data: pl.LightningDataModule) -> pl.Trainer:
        saver = Saver(task.folder, saving=REST)
        if not task.of_features:
            saver = Saver(task.folder, None if config.augment else task.about | {"method": name})
        at = task.folder, task.checkpoint
        lines = LINES if task.of_features else None
        made = trainer.make_trainer(config, *at, [saver], options, plugins, list(loggers), lines)
        # No command line repeats an evaluation of objects in memory.
        program = None if is_own(config.dataset) or is_own(config.encoder) else PROGRAM_FILE
        code = trainer.fit(made, module, data, task.checkpoint, program, task.folder, more=True)
        if code:
            raise Stop(f"--eval {name} ended early", code)
        return made

    return Training(
        lr=config.lr,
        weight_decay=config.weight_decay,
        epochs=config.epochs,
        max_steps=config.max_steps,
        clip_grad_norm=config.clip_grad_norm,
        batch_size=config.global_batch(),
        device=device,
        plan=plan,
        describe=lambda o: settings_of_training(config, o, options),
        fit=fit,
    )


def settings_of_training(
    config: Linear, o: Optimization, options: Mapping[str, Any]
) -> dict[str, Any]:
    """All settings of a training, for the protocol card: every field, so that none is forgotten.

    Args:
        config: says how long it is.
        o: optimizer and schedule, with the values that were selected.
        options: of its Trainer, about the hardware.
    """
    settings = asdict(o) | {k: getattr(config, k) for k in ("epochs", "max_steps")}
    settings |= {"clip_grad_norm": config.clip_grad_norm, "batch": config.global_batch()}
    settings |= {k: options[k] for k in ("accelerator", "precision")}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
