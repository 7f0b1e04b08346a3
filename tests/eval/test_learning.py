"""What learns for an evaluation learns from the training part alone."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cl.callbacks.watch import Watch
from cl.data.batch import Batch
from cl.eval._classifier import Classifier
from cl.eval._probe import FeatureLoader, LinearProbe
from cl.optim import Optimization

PLATEAU = Optimization(scheduler="reduce", lr=0.05, weight_decay=0.0)
EPOCHS = 14  # a standstill of ten divides the rate


class Flat(nn.Flatten):
    num_features = 12


class Data(pl.LightningDataModule):
    """One batch to learn from; as test part the same, with its labels or with others."""

    def __init__(self, kind: str, shift: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.images, self.labels = torch.randn(1, 64, 3, 2, 2, generator=g), torch.arange(64) % 4
        self.kind, self.shift = kind, shift

    def batches(self, labels: Tensor) -> Any:
        if self.kind == "features":
            return FeatureLoader(self.images[0].flatten(1), labels, 64)
        return DataLoader([Batch([self.images], labels, torch.arange(64))], batch_size=None)

    def train_dataloader(self) -> Any:
        return self.batches(self.labels)

    def val_dataloader(self) -> Any:
        return self.batches((self.labels + self.shift) % 4)


def learned(kind: str, shift: int) -> tuple[Tensor, float]:
    """The classifier's weights in the end, and its learning rate."""
    torch.manual_seed(0)
    module: Any = (
        LinearProbe(12, 4, PLATEAU) if kind == "features" else Classifier(Flat(), 4, PLATEAU)
    )
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[Watch(1000)],
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=Data(kind, shift))
    classifier = module.classifier.linear if kind == "features" else module.classifier
    return classifier.weight.detach(), trainer.optimizers[0].param_groups[0]["lr"]


@pytest.mark.parametrize("kind", ["features", "images"])
def test_the_plateau_is_the_training_losss(kind: str) -> None:
    """With a test part that is learned ever worse the classifier is the very same."""
    (own, rate), (others, _) = learned(kind, 0), learned(kind, 1)
    assert torch.equal(own, others)
    assert rate == 0.05
