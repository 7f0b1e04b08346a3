"""The state of the random numbers comes back with the checkpoint."""

from pathlib import Path

import pytorch_lightning as pl
import torch

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
