"""A resumed run has the rates of its configuration, at the place of its schedule."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cl.callbacks.rates import ConfiguredRates
from cl.callbacks.saver import Saver
from cl.checkpoints import SafeIO
from cl.optim import Optimization, build_optimizer


class Fits(pl.LightningModule):
    def __init__(self, o: Optimization) -> None:
        super().__init__()
        self.encoder, self.o = torch.nn.Linear(2, 2), o
        self.seen: list[list[object]] = []

    @property
    def evaluated(self) -> torch.nn.Module:
        return self.encoder

    def training_step(self, x: torch.Tensor, _: int) -> torch.Tensor:
        (optimizer,) = self.trainer.optimizers
        names = ("lr", "weight_decay", "betas", "eps")
        self.seen.append([g.get(name) for g in optimizer.param_groups for name in names])
        return self.encoder(x).square().sum()

    def configure_optimizers(self) -> dict[str, object]:
        return build_optimizer(self, self.o, 12, 2, "loss")


def fit(o: Optimization, folder: Path, epochs: int, checkpoint: Path | None = None) -> Fits:
    torch.manual_seed(0)
    module = Fits(o)
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[ConfiguredRates(), Saver(folder)] if checkpoint else [Saver(folder)],
        plugins=[SafeIO()],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([torch.ones(2)] * 4, batch_size=2)
    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    return module


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_the_same_settings_go_on_bit_for_bit_and_others_at_their_own_rate(
    tmp_path: Path, optimizer: str
) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    more = {"optimizer": optimizer, "warmup_epochs": 2, "warmup_start_lr": 0.01}
    o = Optimization(lr=0.1, weight_decay=0.01, **more)
    other = Optimization(
        lr=0.04, weight_decay=0.5, betas=(0.8, 0.9), adam_eps=1e-4, min_lr=0.01, **more
    )
    whole = fit(o, folders[0], 6)
    fit(o, folders[1], 3)
    going_on = fit(o, folders[2], 6, folders[1] / "last.ckpt")
    assert going_on.seen == whole.seen[6:]
    for a, b in zip(whole.parameters(), going_on.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    changed = fit(other, folders[2], 6, folders[1] / "last.ckpt")
    assert changed.seen == fit(other, folders[0], 6).seen[6:]
    assert changed.seen != going_on.seen
