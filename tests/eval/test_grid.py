"""A grid's classifiers are those that are trained alone."""

import copy
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from cl.eval import grid
from cl.eval.choose import held_out
from cl.eval.grid import Grid, Setting
from cl.optim import Optimization, optimizer

X, Y = load_digits(return_X_y=True)
TRAIN = torch.from_numpy(X / 16)[:400], torch.from_numpy(Y)[:400]
SETTINGS = [Setting(0.3, 0.0), Setting(0.01, 0.1), Setting(1.0, 1e-3)]
SCHEDULES = {"step": {"lr_decay_epochs": (2,)}, "warmup_cosine": {"warmup_epochs": 1}}


@pytest.mark.parametrize("kind", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_each_learns_as_if_it_were_alone(kind: str, scheduler: str) -> None:
    o = Optimization(
        optimizer=kind, scheduler=scheduler, warmup_start_lr=1e-3, **SCHEDULES[scheduler]
    )
    torch.manual_seed(0)
    start = nn.Linear(64, 10).double()
    together = grid.fit(TRAIN, Grid(start, SETTINGS), o, epochs=3, batch_size=64, seed=0)
    for i, setting in enumerate(SETTINGS):
        alone = Grid(start, [setting])
        grid.fit(TRAIN, alone, o, epochs=3, batch_size=64, seed=0)
        torch.testing.assert_close(together.weight[i], alone.weight[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together(TRAIN[0])[i], alone(TRAIN[0])[0])


def test_a_classifier_of_one_is_torchs() -> None:
    """SGD with momentum and decay, the bias without decay, against a plain loop."""
    torch.manual_seed(0)
    start, o = nn.Linear(64, 10).double(), Optimization(scheduler="none", lr=0.1)
    ours = grid.fit(TRAIN, Grid(start, [Setting(0.1, 0.01)]), o, epochs=2, batch_size=400, seed=0)
    groups = [
        {"params": [start.weight], "weight_decay": 0.01},
        {"params": [start.bias], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, 0.1, momentum=0.9)
    for _ in range(2):
        sgd.zero_grad()
        nn.functional.cross_entropy(start(TRAIN[0]), TRAIN[1]).backward()
        sgd.step()
    torch.testing.assert_close(ours.weight[0], start.weight)
    torch.testing.assert_close(ours.bias[0], start.bias)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lars_of_a_grid_is_that_of_linear_evaluation(weight_decay: float) -> None:
    """Without decay too, where timm's adapts nothing unless it is told to."""
    torch.manual_seed(0)
    alone, o = nn.Module(), Optimization(optimizer="lars", scheduler="none", lr=0.1)
    alone.classifier = nn.Linear(64, 10).double()
    start = copy.deepcopy(alone.classifier)
    ours = Grid(start, [Setting(0.1, weight_decay)])
    grid.fit(TRAIN, ours, o, epochs=1, batch_size=400, seed=0)
    lars = optimizer(alone, replace(o, weight_decay=weight_decay))
    nn.functional.cross_entropy(alone.classifier(TRAIN[0]), TRAIN[1]).backward()
    lars.step()
    torch.testing.assert_close(ours.weight[0], alone.classifier.weight)
    torch.testing.assert_close(ours.bias[0], alone.classifier.bias)


def test_the_best_is_that_of_the_held_out_part() -> None:
    o = Optimization(scheduler="none")
    lrs, decays = (1e-5, 0.5), (0.0, 5.0)
    options = {"epochs": 5, "batch_size": 64, "seed": 4}
    best, reached = grid.best(TRAIN, 10, lrs, decays, o, **options)
    assert best == Setting(0.5, 0.0)
    assert len(reached) == 4
    number = int(held_out(TRAIN[1], 4).sum())
    assert all(abs(share * number - round(share * number)) < 1e-9 for share in reached.values())
    assert reached[best] > 0.8 > reached[Setting(1e-5, 0.0)]
    assert grid.best(TRAIN, 10, lrs, decays, replace(o), **options)[1] == reached
    thousandth, scaled = [lr / 1000 for lr in lrs], {"scaling": 1000.0}
    found = grid.best(TRAIN, 10, thousandth, decays, o, **options, **scaled)
    assert found[0] == Setting(0.0005, 0.0)
    assert [*found[1].values()] == pytest.approx([*reached.values()], abs=0.03)
