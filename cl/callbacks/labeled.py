"""Each epoch: the kNN accuracy of data with labels, of a run whose own images have none."""

from collections.abc import Callable

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from cl import distributed
from cl.callbacks.saver import BROKEN
from cl.callbacks.watch import needs_log
from cl.interrupts import Stop
from cl.precision import FeaturesNotFiniteError


class Labeled(Callback):
    """Each epoch: `val/knn_top1` of images that are not trained on.

    Args:
        knn: the accuracy of an encoder, measured on one device.
    """

    def __init__(self, knn: Callable[[nn.Module], float]) -> None:
        self.knn = knn

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        encoder, top1 = pl_module.evaluated, torch.zeros((), device=pl_module.device)
        assert isinstance(encoder, nn.Module)
        if trainer.is_global_zero:
            try:
                top1 += self.knn(encoder)
            except FeaturesNotFiniteError:
                top1 += torch.nan
        shared = distributed.all_reduce_sum(top1)
        if shared.isnan():
            where = f"step {trainer.global_step}: features of --probe_data"
            raise Stop(f"{where} are not finite; a lower --lr?", BROKEN)
        pl_module.log("val/knn_top1", shared, logger=needs_log(trainer))
