"""Many linear classifiers at once: a grid of learning rates and weight decays as one probe."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from cl.eval.choose import Part, choose, labelled
from cl.eval.linear import FeatureLoader
from cl.nets.probe import cross_entropy
from cl.optim import Optimization, factor, optimizer


class Setting(NamedTuple):
    lr: float
    weight_decay: float


class Grid(nn.Module):
    """A linear classifier for each setting; none sees another, so each learns as if it were alone.

    Args:
        start: all begin as this one.
        settings: of the classifiers.
    """

    def __init__(self, start: nn.Linear, settings: Sequence[Setting]) -> None:
        super().__init__()
        weight, bias = start.weight.detach(), start.bias.detach()
        self.weight = nn.ParameterList(weight.clone() for _ in settings)
        self.bias = nn.ParameterList(bias.clone() for _ in settings)
        self.settings = list(settings)

    def forward(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "g n c"]:
        weight = rearrange(list(self.weight), "g c d -> (g c) d")
        logits = rearrange(h @ weight.T, "n (g c) -> g n c", g=len(self.settings))
        return logits + rearrange(list(self.bias), "g c -> g 1 c")

    def optimizer(self, o: Optimization) -> torch.optim.Optimizer:
        """One over all, a group for each setting's weight and one for its bias."""
        made = optimizer(nn.Linear(1, 1), o)  # of the kind and with the options that are asked for
        made.param_groups.clear()
        for w, b, s in zip(self.weight, self.bias, self.settings, strict=True):
            decay = {"weight_decay": s.weight_decay, "always_adapt": True}  # as `groups` has it
            made.add_param_group({"params": [w], "lr": s.lr, **decay})
            made.add_param_group({"params": [b], "lr": s.lr, "weight_decay": 0.0})
        return made


def fit(
    train: Part, grid: Grid, o: Optimization, *, epochs: int, batch_size: int, seed: int
) -> Grid:
    """Train all classifiers of a grid on the same batches, with one schedule of their own rates."""
    loader = FeatureLoader(*train, batch_size, seed, whole=True)
    total, step = epochs * len(loader), 0
    opt = grid.optimizer(o)
    rates = [group["lr"] for group in opt.param_groups]
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for h, labels in loader:
            for group, rate in zip(opt.param_groups, rates, strict=True):
                own = replace(o, lr=rate, warmup_start_lr=min(o.warmup_start_lr, rate))
                group["lr"] = rate * factor(own, step, total, len(loader))
            loss = cross_entropy(grid(h), labels) * len(grid.settings)  # the sum of their means
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            step += 1
    return grid


def best(
    train: Part,
    classes: int,
    lrs: Sequence[float],
    weight_decays: Sequence[float],
    o: Optimization,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    scaling: float = 1.0,
) -> tuple[Setting, dict[Setting, float]]:
    """The setting that does best on a held-out part of the training data, and what each reached.

    Args:
        train: features and labels; the test part is not among them.
        classes: how many there are.
        lrs: learning rates to try.
        weight_decays: each of them with each of these.
        o: everything else of the training.
        epochs: of the training.
        batch_size: of the training.
        seed: of the held-out part, the order and the first weights.
        scaling: of the learning rates, by the batch.
    """
    settings = [Setting(*each) for each in product(lrs, weight_decays)]

    def scores(part: Part, queries: Tensor) -> Iterator[tuple[Setting, Tensor]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            start = nn.Linear(queries.shape[1], classes)
        scaled = [s._replace(lr=s.lr * scaling) for s in settings]
        grid = Grid(start.to(queries), scaled)
        fit(part, grid, o, epochs=epochs, batch_size=batch_size, seed=seed)
        with torch.no_grad():
            yield from zip(settings, grid(queries), strict=True)

    return choose(settings, scores, labelled(train), seed, "--lr_grid, --weight_decay_grid")
