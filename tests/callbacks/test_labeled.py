"""Data with labels beside a training without: its accuracy is logged, or says why there is none."""

from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from cl.callbacks.labeled import Labeled
from cl.callbacks.saver import BROKEN
from cl.callbacks.watch import Watch
from cl.interrupts import Stop
from cl.knn import classify

BANK = torch.eye(2)


class Method(pl.LightningModule):
    """A method as a callback sees it; remembers what is logged."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.evaluated = nn.Linear(2, 2, bias=False)
        nn.init.constant_(self.evaluated.weight, scale)
        self.said: dict[str, float] = {}

    def log(self, name: str, value: torch.Tensor, **_: object) -> None:
        self.said[name] = float(value)


def accuracy(encoder: nn.Module) -> float:
    """Of two features, of which the first one's class is said to be the second's."""
    with torch.no_grad():
        found = classify(BANK, torch.tensor([0, 1]), BANK + encoder(BANK), k=1)
    return float((found == torch.tensor([0, 0])).float().mean())


def validate(method: Method, sanity: bool = False) -> None:
    trainer = Mock(
        spec=pl.Trainer,
        sanity_checking=sanity,
        is_global_zero=True,
        global_step=7,
        callbacks=[Watch(1)],
        loggers=[],
    )
    Labeled(accuracy).on_validation_epoch_end(trainer, method)


def test_the_accuracy_is_logged() -> None:
    method = Method(0.0)
    validate(method, sanity=True)
    assert method.said == {}
    validate(method)
    assert method.said == {"val/knn_top1": 0.5}


def test_features_that_are_not_finite_end_the_run_with_advice() -> None:
    with pytest.raises(Stop, match=r"step 7: features of --probe_data are not .*--lr") as ended:
        validate(Method(float("inf")))
    assert ended.value.code == BROKEN
