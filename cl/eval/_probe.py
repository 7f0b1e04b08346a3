"""A linear classifier of cached features: its batches, its training, and a grid of many at once."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl import distributed
from cl.eval._blocks import deviation_and_mean, rows_in_block
from cl.eval._result import Features, Labels, TestFeatures
from cl.nets.probe import Probe, classification_loss, shown_topk, topk_correct
from cl.optim import Optimization, build_optimizer, lr_factor, optimizer, planned_steps, written_out

ROUNDING = 0.01  # relative, of the size of features that another machine computes


class FeatureBatch(NamedTuple):
    h: Float[Tensor, "n d"]
    labels: Labels


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
        labels: Labels,
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
    """Cached features, for a Trainer.

    Args:
        train: features and labels to train on.
        test: those to validate on.
        batch_size: of all processes.
        seed: of the order.
    """

    def __init__(self, train: Features, test: TestFeatures, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train, self.test, self.batch_size, self.seed = train, test, batch_size, seed

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must find again: labels, and the size of each feature."""
        return self.sums

    @cached_property
    def sums(self) -> dict[str, Any]:
        """The same, which takes a pass over all features."""
        parts = {"training": self.train, "validation": self.test}
        return {
            what: {
                "labels": hashlib.sha256(y.cpu().numpy().tobytes()).hexdigest(),
                "size": size_of(h),
            }
            for what, (h, y) in parts.items()
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the features with those of the checkpoint; another machine rounds otherwise.

        Raises:
            ValueError: they are others.
        """
        for what, now in self.sums.items():
            then = state_dict[what]
            same = now["labels"] == then["labels"] and now["size"].shape == then["size"].shape
            if not same or (now["size"] - then["size"]).norm() > ROUNDING * then["size"].norm():
                raise ValueError(
                    f"the checkpoint was written with other {what} features or labels; resume with "
                    "its data and its encoder, or start anew"
                )

    def train_dataloader(self) -> FeatureLoader:
        return FeatureLoader(*self.train, self.batch_size, self.seed)

    def val_dataloader(self) -> FeatureLoader:
        return FeatureLoader(*self.test, self.batch_size)


def size_of(h: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Root of the mean square of each feature, in float64."""
    blocks = h.split(rows_in_block(h.shape[1]))
    squares = torch.stack([rows.double().square().sum(dim=0) for rows in blocks])
    return (squares.sum(dim=0) / len(h)).sqrt()


class Standardization(nn.Module):
    """Standardize features by the mean and deviation that they have in the training part.

    A feature that is constant there is only centered.

    Args:
        h: of the training part.
    """

    def __init__(self, h: Float[Tensor, "n d"]) -> None:
        super().__init__()
        deviation, mean = deviation_and_mean(h)
        constant = deviation <= 10 * torch.finfo(mean.dtype).eps * mean.abs()  # 0, or rounding's
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.masked_fill(constant, 1.0))
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, h: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return (h - self.mean) / self.deviation


class LinearProbe(pl.LightningModule):
    """A linear classifier of features; validation follows it, and what it ends as is the result.

    Args:
        dim: of the features.
        classes: how many there are.
        optimization: how it is trained (the ImageNet-100 recipe: SGD, steps at 60 and 80 of 100).
        scale: what is done to the features first; by default nothing.
        multilabel: whether a sample may be of several classes; followed is then the loss alone.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        optimization: Optimization,
        scale: nn.Module | None = None,
        *,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        # No `probe` to the optimizer: it has the main learning rate, and it decays.
        self.classifier, self.optimization = Probe(dim, classes), optimization
        self.scale = scale or nn.Identity()
        self.topk = [] if multilabel else shown_topk(classes)
        self.sums: dict[str, Tensor] = {}

    def forward(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "1 n c"]:
        return self.classifier(rearrange(self.scale(h), "n d -> 1 n d"))

    def training_step(self, batch: FeatureBatch, _: int) -> dict[str, Any]:
        logits = self(batch.h)
        seen = count_known(batch.labels)
        share = distributed.loss_weight(seen)
        loss = classification_loss(logits, batch.labels) * share
        if batch.labels.ndim == 2:
            return {"loss": loss, "log": {"train/loss": loss.detach()}}
        top1 = topk_correct(logits[0].detach(), batch.labels, 1) / seen.clamp(min=1) * share
        return {"loss": loss, "log": {"train/loss": loss.detach(), "train/probe_top1": top1}}

    def on_validation_epoch_start(self) -> None:
        names = ("loss", *(f"probe_top{k}" for k in self.topk))
        self.sums = {name: torch.zeros(2, device=self.device) for name in names}

    def validation_step(self, batch: FeatureBatch, _: int) -> None:
        logits = self(batch.h)
        seen = count_known(batch.labels)
        values = {"loss": classification_loss(logits, batch.labels) * seen}
        for k in self.topk:
            values[f"probe_top{k}"] = topk_correct(logits[0], batch.labels, k)
        for name, value in values.items():
            self.sums[name] += torch.stack([value.float(), seen.float()])

    def on_validation_epoch_end(self) -> None:
        for name, sums in self.sums.items():
            total, n = distributed.all_reduce_sum(sums)
            self.log(f"val/{name}", total / n.clamp(min=1), logger=False)

    def configure_optimizers(self) -> Any:
        length = planned_steps(self.trainer, self.optimization.scheduler)
        self.optimization = written_out(self.optimization, *length)
        return build_optimizer(self, self.optimization, *length, "train/loss")


def count_known(labels: Labels) -> Int[Tensor, ""]:
    """How many samples have a label; all where one may have several, none of which is known too."""
    return (labels >= 0).sum() if labels.ndim == 1 else torch.ones_like(labels[:, 0]).sum()


class Grid(nn.Module):
    """Linear classifiers that are trained at once; none sees another, each learns as if alone.

    Args:
        start: all begin as this one.
        optimizations: one for each; they differ in learning rate and weight decay.
    """

    def __init__(self, start: nn.Linear, optimizations: Sequence[Optimization]) -> None:
        super().__init__()
        weight, bias = start.weight.detach(), start.bias.detach()
        self.weight = nn.ParameterList(weight.clone() for _ in optimizations)
        self.bias = nn.ParameterList(bias.clone() for _ in optimizations)
        self.optimizations = list(optimizations)

    def forward(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "g n c"]:
        weight = rearrange(list(self.weight), "g c d -> (g c) d")
        logits = rearrange(h @ weight.T, "n (g c) -> g n c", g=len(self.optimizations))
        return logits + rearrange(list(self.bias), "g c -> g 1 c")

    def optimizer(self) -> torch.optim.Optimizer:
        """One over all, with a group for each weight and one for each bias."""
        kind = optimizer(nn.Linear(1, 1), self.optimizations[0])  # of which only the kind counts
        kind.param_groups.clear()
        for w, b, o in zip(self.weight, self.bias, self.optimizations, strict=True):
            decay = {"weight_decay": o.weight_decay, "always_adapt": True}  # as `groups` has it
            kind.add_param_group({"params": [w], "lr": o.lr, **decay})
            kind.add_param_group({"params": [b], "lr": o.lr, "weight_decay": 0.0})
        return kind


def train_grid(
    train: Features,
    grid: Grid,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    max_steps: int | None = None,
    clip_grad_norm: float | None = None,
) -> Grid:
    """Train all classifiers of a grid on the same batches, each with its own schedule.

    Args:
        train: features and labels.
        grid: the classifiers, which are trained in place.
        epochs: passes over the features.
        batch_size: samples in a step.
        seed: of their order.
        max_steps: end after so many.
        clip_grad_norm: clip the norm of each classifier's gradient to this.
    """
    loader = FeatureLoader(*train, batch_size, seed, whole=True)
    total, step = epochs * len(loader), 0
    total = min(total, max_steps or total)
    opt = grid.optimizer()
    own = [o for o in grid.optimizations for _ in ("weight", "bias")]
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for h, labels in islice(loader, total - step):
            for group, o in zip(opt.param_groups, own, strict=True):
                group["lr"] = o.lr * lr_factor(o, step, total, len(loader))
            loss = classification_loss(grid(h), labels) * len(
                grid.optimizations
            )  # sum of their means
            opt.zero_grad(set_to_none=True)
            loss.backward()
            for each in zip(grid.weight, grid.bias, strict=True):
                if clip_grad_norm:
                    nn.utils.clip_grad_norm_(each, clip_grad_norm)
            opt.step()
            step += 1
    return grid
