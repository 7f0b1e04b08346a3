"""What an evaluation that learns by SGD is given: how to train, on what, and where it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from cl.optim import Optimization


@dataclass(frozen=True)
class Training:
    """How a classifier is trained: the run's schedule, hardware, logs and checkpoints.

    Args:
        lr: learning rate, before it is scaled by the batch.
        weight_decay: of matrices.
        epochs: passes over the data.
        batch_size: samples of all processes in a step.
        device: this process's.
        plan: from a learning rate and a weight decay to optimizer and schedule.
        describe: all of such a training that makes its numbers, for the protocol card.
        settings: all of it as it stands on the protocol card.
        fit: trains a module; `cl.callbacks.saver.Stop` is raised where it ends early.
    """

    lr: float
    weight_decay: float
    epochs: int
    batch_size: int
    device: torch.device
    plan: Callable[[float, float], Optimization]
    describe: Callable[[Optimization], dict[str, Any]]
    settings: dict[str, Any]
    fit: Callable[[pl.LightningModule, pl.LightningDataModule], pl.Trainer]
