"""The same measurement before and after training: what an encoder gained by it."""

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import nn

from cl.data.module import PlainLoader
from cl.eval._features import extract_features
from cl.eval._result import Features, TestFeatures
from cl.eval._select import labeled
from cl.eval.logistic import logistic
from cl.knn import classify


def measure_frozen(
    encoder: nn.Module, loaders: tuple[PlainLoader, PlainLoader], classes: int, **hw: Any
) -> dict[str, float]:
    """Logistic regression's and kNN's top-1 of a frozen encoder, as `--eval logistic knn` has them.

    Args:
        encoder: looked at as a copy.
        loaders: plain images for the classifier, and those it is measured on.
        classes: how many there are.
        hw: see `extract_features`.

    Raises:
        ValueError: a feature is not finite, or a part has too few labels.
    """
    train, test = frozen_features(encoder, loaders, **hw)
    return {
        "linear_top1": logistic(train, test, classes).numbers["top1"],
        "knn_top1": knn_top1(train, test),
        "fitted_on": len(train[0]),
        "measured_on": len(test[0]),
    }


def frozen_features(
    encoder: nn.Module, loaders: tuple[PlainLoader, PlainLoader], **hw: Any
) -> tuple[Features, TestFeatures]:
    """The features of the labeled images of both parts, by a copy of the encoder.

    Args:
        encoder: stays as it is.
        loaders: of plain images.
        hw: see `extract_features`.
    """
    encoder = copy.deepcopy(encoder)
    train, test = (labeled(extract_features(encoder, loader, **hw)) for loader in loaders)
    return train, test


def knn_top1(train: Features, test: TestFeatures) -> float:
    """The part of the test images whose class their neighbors among the training images tell."""
    return float((classify(*train, test[0]) == test[1]).double().mean())


class Baseline(Callback):
    """Writes `result.json`: the untrained encoder's accuracies, then the trained one's.

    Args:
        file: where.
        measure: the encoder's accuracies.
        resumed: what was untrained once was measured then.
    """

    def __init__(
        self, file: Path, measure: Callable[[nn.Module], dict[str, float]], *, resumed: bool = False
    ) -> None:
        self.file, self.measure, self.resumed = file, measure, resumed

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.resumed:  # Lightning has restored the weights by now, and not yet the step
            self.note(trainer, pl_module, "untrained")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.note(trainer, pl_module, "trained")

    def note(self, trainer: pl.Trainer, pl_module: pl.LightningModule, when: str) -> None:
        if trainer.is_global_zero:
            encoder = pl_module.evaluated
            assert isinstance(encoder, nn.Module)
            try:
                found = read_result(self.file) | {when: self.measure(encoder)}
                new = self.file.with_suffix(".new")
                new.write_text(json.dumps(found, indent=2) + "\n")
                new.replace(self.file)
            except (OSError, ValueError) as error:  # a full disk, an encoder that diverged
                warnings.warn(f"the {when} encoder is not measured: {error}", stacklevel=2)
        trainer.strategy.barrier("baseline")


def read_result(file: Path) -> dict[str, dict[str, float]]:
    """What `result.json` holds so far."""
    return json.loads(file.read_text()) if file.exists() else {}
