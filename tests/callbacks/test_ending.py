"""What a run's end needs is made ready once, in a thread, when the last epoch begins."""

import threading
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

from cl.callbacks.ending import Ending
from cl.trainer import Trainer
from tests.trainers import QUIET_ON_CPU


class Module(BoringModel):
    """Three batches an epoch; it notes what was called before each epoch's end."""

    def __init__(self, called: list[str]) -> None:
        super().__init__()
        self.called, self.seen = called, list[int]()

    def on_train_epoch_end(self) -> None:
        for callback in self.trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, Ending) and callback.thread:
                callback.thread.join()
        self.seen.append(len(self.called))


def fit(ending: Ending, module: pl.LightningModule, limit: int | None = None) -> None:
    more: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 3, "limit_val_batches": 0}
    Trainer(limit, callbacks=[ending], **QUIET_ON_CPU | more).fit(module)


@pytest.mark.parametrize(("limit", "seen"), [(None, [0, 0, 1]), (5, [0, 1, 1]), (2, [1, 1, 1])])
def test_it_begins_with_the_last_epoch(limit: int | None, seen: list[int]) -> None:
    """That of `--max_steps` may be cut short; what ends the run there is another callback."""
    called = list[str]()
    module = Module(called)
    fit(Ending(lambda: called.append(threading.current_thread().name)), module, limit)
    assert module.seen == seen
    assert called == ["cl-ending"]


def test_a_fault_ends_nothing() -> None:
    ending = Ending(lambda: called.append(str(1 / 0)))
    called = list[str]()
    fit(ending, Module(called))
    assert ending.thread is not None
    assert not ending.thread.is_alive()
    assert called == []
