"""What a run needs when it has ended is made ready beside the training of its last epoch."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from cl.optim import planned_steps


class Ending(Callback):
    """Calls a function in a thread once, when the last epoch begins.

    Args:
        prepare: loads what is slow to load; where it fails the run goes on, and whoever needs the
            thing says why.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self.prepare = prepare
        self.thread: Thread | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps, per_epoch = planned_steps(trainer)
        if trainer.is_global_zero and trainer.global_step + per_epoch >= steps and not self.thread:
            self.thread = Thread(target=self.try_to_prepare, name="cl-ending")
            self.thread.start()  # a process waits for it at its end, as for every such thread

    def try_to_prepare(self) -> None:
        with suppress(Exception):
            self.prepare()
