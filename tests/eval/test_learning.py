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
from cl.eval._probe import FeatureData, FeatureLoader, LinearProbe
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


def test_a_resumed_probe_has_the_features_of_its_checkpoint() -> None:
    g = torch.Generator().manual_seed(0)
    train, test = (
        (torch.randn(n, 5, generator=g) + 1, torch.randint(3, (n,), generator=g)) for n in (40, 9)
    )
    data = FeatureData(train, test, batch_size=8, seed=0)
    state = data.state_dict()
    assert data.state_dict() is state  # a pass over all features, and a probe is saved often
    rounded = (train[0] * (1 + 1e-4), train[1]), test
    FeatureData(*rounded, batch_size=4, seed=1).load_state_dict(state)
    others = [
        ((train[0][:-1], train[1][:-1]), test, "training"),
        ((train[0], train[1].roll(1)), test, "training"),
        ((train[0] * 2, train[1]), test, "training"),
        ((train[0][:, :4], train[1]), (test[0][:, :4], test[1]), "training"),
        (train, (test[0] - 1, test[1]), "validation"),
    ]
    for features, held_out, said in others:
        data = FeatureData(features, held_out, batch_size=8, seed=0)
        with pytest.raises(ValueError, match=f"other {said} features"):
            data.load_state_dict(state)
