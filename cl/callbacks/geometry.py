"""Each epoch, at next to no cost: kNN, and whether the embeddings still fill their space."""

import warnings
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from cl import distributed, measures
from cl.callbacks.finite import unless
from cl.callbacks.saver import BROKEN
from cl.callbacks.watch import needs_log
from cl.data.loaders.given import as_batch
from cl.distributed import reshard
from cl.interrupts import Stop
from cl.knn import classify
from cl.metrics import MONITORS
from cl.precision import precise

PAIRED = 4096  # embeddings at most, all pairs of which are compared
ENOUGH = 16  # embeddings, fewer of which have no rank to speak of; two can be alike


class Geometry(Callback):
    """Each epoch: kNN on the validation set, and whether the embeddings still fill their space.

    The neighbors are the newest training features, as the training saw them, so that no image is
    embedded twice; where there are no two classes there is no kNN. A collapse (all embeddings
    alike, or all on one line) is said loudly. Uniformity, whose pairs grow with the square of the
    batch, is that of at most 4,096 evenly spread samples. Without validation data the epoch's end
    is the time to look.

    Args:
        on_collapse: `stop` ends the run with exit code 3.
        bank: how many of the newest training samples are neighbors.
        queries: how many validation samples are classified, evenly spread; all of a loader whose
            length is not known.
    """

    def __init__(
        self, on_collapse: Literal["warn", "stop"], bank: int = 8192, queries: int = 2048
    ) -> None:
        self.on_collapse, self.bank, self.queries = on_collapse, bank, queries
        self.known: list[tuple[Tensor, Tensor]] = []
        self.samples = 0  # of `known`
        self.asked: list[tuple[Tensor, Tensor]] = []
        self.last: Tensor | None = None
        self.warned = self.validates = False

    def state_dict(self) -> dict[str, Any]:
        """The banks of all processes, so that a resumed epoch finds the same neighbors."""
        own = [(h.cpu(), labels.cpu()) for h, labels in self.known]
        last = self.last if self.validates else None  # for the validation that is done again
        last = None if last is None else last.cpu()
        gather = distributed.gather_objects
        return {"known": gather(own), "last": gather(last)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        newest = zip(*(reversed(bank) for bank in state_dict["known"]), strict=False)
        steps = [zip(*step, strict=True) for step in newest]
        self.known = [(reshard(h), reshard(labels)) for h, labels in reversed(steps)]
        last = state_dict.get("last", [None])
        self.last = None if last[0] is None else reshard(last, dim=1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        device = pl_module.device
        self.known = [(h.to(device), labels.to(device)) for h, labels in self.known]
        self.last = None if self.last is None else self.last.to(device)
        self.samples = sum(len(labels) for _, labels in self.known)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        h, self.validates, bad = outputs["h"], False, outputs.get("skipped", False)
        if bad is True:
            return
        labels = as_batch(batch).labels
        if bad is not False:  # features that are not finite are nobody's neighbors
            labels = labels.masked_fill(bad, -1)
            h = h if self.last is None else unless(bad, h, self.last)
        self.last = h
        self.known.append((h[0].clone(), labels))
        self.samples += len(labels)
        share = -(-self.bank // distributed.world_size())
        while self.samples - len(self.known[0][1]) >= share:
            self.samples -= len(self.known.pop(0)[1])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.asked, self.validates = [], True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validates = False

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        samples = as_batch(batch)
        number = getattr(trainer.datamodule, "val_samples", 0)  # pyright: ignore[reportAttributeAccessIssue]
        stride = max(1, -(-number // self.queries))
        chosen = samples.index % stride == 0
        self.asked.append((outputs["h"][chosen], samples.labels[chosen]))

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        each = [torch.ones((), dtype=torch.bool, device=pl_module.device)]
        each += [h.isfinite().all() for h, _ in self.asked]
        each += [(h.isfinite().all(dim=1) | (labels < 0)).all() for h, labels in self.known]
        if distributed.any_of(~torch.stack(each).all().cpu()):
            what = f"step {trainer.global_step}: features are not finite; a lower --lr?"
            raise Stop(what, BROKEN)
        if self.last is None:
            return
        bank, classes = (torch.cat(part) for part in zip(*self.known, strict=True))
        bank, classes = (distributed.gather(t, dim=0)[0] for t in (bank, classes))
        h, labels = (torch.cat(part) for part in zip(*self.asked, strict=True))
        asked = distributed.all_reduce_sum((labels >= 0).sum())
        known = classes >= 0
        if asked and len(classes[known].unique()) > 1:  # of one class, all are right
            right = (classify(bank[known], classes[known], h) == labels)[labels >= 0]
            share = distributed.all_reduce_sum(right.sum()) / asked
            pl_module.log("val/knn_top1", share, logger=needs_log(trainer))
        self.look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation:
            self.look(trainer, pl_module)

    @torch.no_grad()
    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the newest embeddings, and say when they have collapsed."""
        if self.last is None:  # all steps so far were left out
            return
        pl_module.eval()  # so that no BatchNorm statistic of the projector moves
        z = pl_module.monitored(precise(self.last))  # pyright: ignore[reportCallIssue]
        pl_module.train()
        z, _ = distributed.gather(z)
        if not z.isfinite().all():
            what = f"step {trainer.global_step}: embeddings are not finite; a lower --lr?"
            raise Stop(what, BROKEN)
        if len(z[0]) < 2:
            return  # one embedding has no geometry
        values = (
            measures.embedding_std(z[0]),
            measures.effective_rank(z[0]),
            measures.alignment(z),
            measures.uniformity(z[0][:: -(-len(z[0]) // PAIRED)]),
        )
        for name, value in zip(MONITORS, values, strict=True):
            pl_module.log(name, value, logger=needs_log(trainer))
        std, rank = float(values[0]), float(values[1])
        if std >= 0.01 and (rank >= 1.5 or len(z[0]) < ENOUGH):
            return
        what = (
            f"COLLAPSED at step {trainer.global_step}: embedding std {std:.4f} (1 fills the "
            f"sphere, 0 is one point), effective rank {rank:.1f} of {z.shape[-1]}"
        )
        if self.on_collapse == "stop":
            raise Stop(f"{what}; ended by --on_collapse stop", 3)
        if not self.warned:
            warnings.warn(f"{what}; --on_collapse stop would end the run", stacklevel=2)
        self.warned = True
