"""The state of the random numbers comes back with the checkpoint."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cl.callbacks.saver import Saver


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    trainer = pl.Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False)
    module, checkpoint = pl.LightningModule(), {}
    Saver(tmp_path).on_save_checkpoint(trainer, module, checkpoint)
    expected = torch.rand(3)
    torch.manual_seed(1)
    saver = Saver(tmp_path)
    saver.on_load_checkpoint(trainer, module, checkpoint)
    saver.on_train_start(trainer, module)
    saver.teardown(trainer, module, "fit")
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("apart", "saved"), [(0.0, [2, 4, 6]), (1e6, [2, 6])])
def test_epochs_that_are_short_are_not_all_saved(
    tmp_path: Path, apart: float, saved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first and the last always are."""
    steps: list[int] = []
    monkeypatch.setattr(Saver, "save", lambda _, trainer, __: steps.append(trainer.global_step))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, callbacks=[Saver(tmp_path, apart=apart)], **options
    )
    trainer.fit(Fits(), DataLoader([torch.zeros(1)] * 4, batch_size=2))
    assert steps == saved


class Fits(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, x: torch.Tensor, _: int) -> torch.Tensor:
        return self.layer(x).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)
