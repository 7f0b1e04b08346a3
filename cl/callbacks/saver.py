"""The run's checkpoint every epoch and on a signal, always at the end of a step."""

import signal
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from cl import checkpoints, distributed

EXCHANGED = 8  # steps between two questions on several GPUs whether one of them got a signal


class Stop(Exception):  # noqa: N818 - nothing went wrong
    """A run ends early on purpose: `code` is the process's exit code, the message says why."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class Saver(Checkpoint):
    """`last.ckpt` and `encoder.safetensors` every epoch and on a signal, at a step's end.

    SIGINT and SIGTERM are only noted when they come; the step in progress is finished and saved,
    then the run ends with the exit code that is usual for the signal. A second Ctrl-C ends at once.

    Args:
        folder: the run's.
        about: what `cl.checkpoints.save_encoder` writes beside the encoder's weights; none is saved
            without it.
        apart: seconds that must lie between two epochs' checkpoints; the last epoch has its own.
    """

    def __init__(
        self, folder: Path, about: dict[str, Any] | None = None, apart: float = 0.0
    ) -> None:
        self.folder, self.about, self.apart = folder, about, apart
        self.newest = float("-inf")
        self.signal = 0
        self.random: dict[str, torch.Tensor] = {}
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not earlier: Lightning sets handlers of its own between the fit's start and this.
        if self.random:
            torch.set_rng_state(self.random["cpu"])
            if "gpu" in self.random:
                torch.cuda.set_rng_state(self.random["gpu"])
        if threading.current_thread() is threading.main_thread():  # no other may set them
            self.before = {s: signal.signal(s, self.note) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Random states of every process: dropout goes on where it was; data needs none."""
        own = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            own["gpu"] = torch.cuda.get_rng_state()
        checkpoint["random"] = distributed.gather_objects(own)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        states = checkpoint["random"]
        self.random = states[distributed.rank() % len(states)]

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not trainer.is_last_batch:  # the last batch's checkpoint is the epoch's
            self.end_if_asked(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ended = trainer.current_epoch + 1 == trainer.max_epochs
        ended = ended or trainer.global_step == trainer.max_steps
        due = torch.tensor(ended or time.monotonic() - self.newest >= self.apart)
        due = bool(distributed.all_reduce_max(due.int().to(pl_module.device)))  # all or none
        if due:
            self.save(trainer, pl_module)
            self.newest = time.monotonic()
        self.end_if_asked(trainer, pl_module, saved=due)

    def end_if_asked(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, saved: bool = False
    ) -> None:
        """Every process hears of a signal to one of them, and all save the same step."""
        number = self.signal
        if distributed.world_size() > 1:
            waits = pl_module.device.type != "cpu"  # to ask is to wait for all work on the GPU
            if waits and not trainer.is_last_batch and trainer.global_step % EXCHANGED:
                return
            number = int(distributed.all_reduce_max(torch.tensor(number, device=pl_module.device)))
        if not number:
            return
        if not saved:
            self.save(trainer, pl_module)
        name = signal.Signals(number).name
        raise Stop(f"{name}: step {trainer.global_step} is saved", 128 + number)

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        try:
            trainer.save_checkpoint(self.folder / checkpoints.LAST)
            if trainer.is_global_zero and self.about is not None:
                saved: Any = pl_module.saved
                for name, module in saved.items():
                    checkpoints.save_encoder(module, self.folder / name, self.about)
        except OSError as error:  # a full disk: the training and the checkpoint before go on
            warnings.warn(f"step {trainer.global_step} is NOT saved: {error}", stacklevel=2)
