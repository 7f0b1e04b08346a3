"""Linear evaluation: a classifier trained by SGD on the cached features of a frozen encoder.

The protocol of SimCLR (Chen et al. 2020, B.6) and of the ImageNet-100 recipes, without augmented
training views, which is what lets the features be taken once.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl import distributed
from cl.nets.probe import Probe, cross_entropy, hits
from cl.optim import Optimization, configure, planned


class FeatureBatch(NamedTuple):
    h: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]


class FeatureLoader:
    """Batches of cached features; shuffled by (seed, epoch) when a seed is given.

    Whole batches are cut from the tensors, so an epoch over 50,000 samples takes milliseconds.
    Processes share each batch, so that the run does not depend on how many there are.

    Args:
        h: features.
        labels: theirs.
        batch_size: of all processes.
        seed: of the order; None keeps that of the features.
        whole: each process gets all of a batch, because each does the same.
    """

    def __init__(
        self,
        h: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        batch_size: int,
        seed: int | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.h, self.labels, self.batch_size, self.seed = h, labels, batch_size, seed
        self.whole = whole
        self.epoch, self.given = 0, 0
        if seed is not None:
            self.sampler = self  # Lightning tells a sampler which epoch it is

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]

    def __len__(self) -> int:
        return -(-len(self.h) // self.batch_size)

    def __iter__(self) -> Iterator[FeatureBatch]:
        order = torch.arange(len(self.h))
        if self.seed is not None:
            # A generator of its own for every epoch, so that a resumed run goes on alike.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.h), generator=generator)
        batches = order.split(self.batch_size)
        self.given %= len(batches)
        rank, world = (0, 1) if self.whole else (distributed.rank(), distributed.world_size())
        for index in batches[self.given :]:
            self.given += 1
            index = index[len(index) * rank // world : len(index) * (rank + 1) // world]
            yield FeatureBatch(self.h[index], self.labels[index])


class FeatureData(pl.LightningDataModule):
    """Features of both parts, for a Trainer.

    Args:
        take: gives those to train on and those to validate on; called when the processes know of
            each other, which can share the work.
        batch_size: of all processes.
        seed: of the order.
    """

    def __init__(
        self, take: Callable[[], tuple[FeatureBatch, FeatureBatch]], *, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self.take, self.batch_size, self.seed = take, batch_size, seed

    def setup(self, stage: str) -> None:
        self.train, self.val = self.take()

    def train_dataloader(self) -> FeatureLoader:
        return FeatureLoader(*self.train, self.batch_size, self.seed)

    def val_dataloader(self) -> FeatureLoader:
        return FeatureLoader(*self.val, self.batch_size)


class Linear(pl.LightningModule):
    """A linear classifier of features; validation follows it, and what it ends as is the result.

    Args:
        dim: of the features.
        classes: how many there are.
        plan: how it is trained (the ImageNet-100 recipe: SGD, steps at 60 and 80 of 100); called
            with the device when the features are there, on which it may depend.
    """

    def __init__(
        self, dim: int, classes: int, plan: Callable[[torch.device], Optimization]
    ) -> None:
        super().__init__()
        # No `probe` to the optimizer: it has the main learning rate, and it decays.
        self.classifier, self.plan = Probe(dim, classes), plan
        self.sums: dict[str, Tensor] = {}

    def training_step(self, batch: FeatureBatch, _: int) -> dict[str, Any]:
        logits = self.classifier(rearrange(batch.h, "n d -> 1 n d"))
        seen = (batch.labels >= 0).sum()
        share = distributed.share(seen)
        loss = cross_entropy(logits, batch.labels) * share
        top1 = hits(logits[0].detach(), batch.labels, 1) / seen.clamp(min=1) * share
        return {"loss": loss, "log": {"train/loss": loss.detach(), "train/probe_top1": top1}}

    def on_validation_epoch_start(self) -> None:
        self.sums = {k: torch.zeros(2, device=self.device) for k in ("loss", "top1", "top5")}

    def validation_step(self, batch: FeatureBatch, _: int) -> None:
        logits = self.classifier(rearrange(batch.h, "n d -> 1 n d"))
        seen = (batch.labels >= 0).sum()
        values = {
            "loss": cross_entropy(logits, batch.labels) * seen,
            "top1": hits(logits[0], batch.labels, 1),
            "top5": hits(logits[0], batch.labels, 5),
        }
        for name, value in values.items():
            self.sums[name] += torch.stack([value.float(), seen.float()])

    def on_validation_epoch_end(self) -> None:
        columns = {"loss": "val/loss", "top1": "val/probe_top1", "top5": "val/probe_top5"}
        for name, column in columns.items():
            total, n = distributed.total(self.sums[name])
            self.log(column, total / n.clamp(min=1), logger=False)

    def configure_optimizers(self) -> Any:
        plan = self.plan(self.trainer.strategy.root_device)
        return configure(self, plan, *planned(self.trainer), "train/loss")


class Nothing(pl.LightningModule):
    """Learns nothing: with it a Trainer takes features, on all processes, and no more."""

    def validation_step(self, batch: FeatureBatch, _: int) -> None: ...
