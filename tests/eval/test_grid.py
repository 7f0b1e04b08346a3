"""A grid's classifiers are those that are trained alone."""

import copy
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from cl.eval._probe import Grid, train_grid
from cl.eval._select import held_out
from cl.eval._training import Training
from cl.eval.linear import LinearCandidate, select_candidate
from cl.optim import Optimization, optimizer

X, Y = load_digits(return_X_y=True)
TRAIN = torch.from_numpy(X / 16)[:400], torch.from_numpy(Y)[:400]
SETTINGS = [(0.3, 0.0), (0.01, 0.1), (1.0, 1e-3)]
SCHEDULES = {"step": {"lr_decay_epochs": (2,)}, "warmup_cosine": {"warmup_epochs": 1}}


@pytest.mark.parametrize("kind", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_each_learns_as_if_it_were_alone(kind: str, scheduler: str) -> None:
    o = Optimization(
        optimizer=kind, scheduler=scheduler, warmup_start_lr=1e-3, **SCHEDULES[scheduler]
    )
    torch.manual_seed(0)
    start = nn.Linear(64, 10).double()
    each = [
        replace(o, lr=lr, weight_decay=decay, warmup_start_lr=min(1e-3, lr))
        for lr, decay in SETTINGS
    ]
    together = train_grid(TRAIN, Grid(start, each), epochs=3, batch_size=64, seed=0)
    for i, own in enumerate(each):
        alone = train_grid(TRAIN, Grid(start, [own]), epochs=3, batch_size=64, seed=0)
        torch.testing.assert_close(together.weight[i], alone.weight[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together(TRAIN[0])[i], alone(TRAIN[0])[0])


def test_a_classifier_of_one_is_torchs() -> None:
    """SGD with momentum and decay, the bias without decay, against a plain loop."""
    torch.manual_seed(0)
    start, o = nn.Linear(64, 10).double(), Optimization(scheduler="none", lr=0.1, weight_decay=0.01)
    ours = train_grid(TRAIN, Grid(start, [o]), epochs=2, batch_size=400, seed=0)
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
    o = replace(o, weight_decay=weight_decay)
    alone.classifier = nn.Linear(64, 10).double()
    start = copy.deepcopy(alone.classifier)
    ours = train_grid(TRAIN, Grid(start, [o]), epochs=1, batch_size=400, seed=0)
    lars = optimizer(alone, o)
    nn.functional.cross_entropy(alone.classifier(TRAIN[0]), TRAIN[1]).backward()
    lars.step()
    torch.testing.assert_close(ours.weight[0], alone.classifier.weight)
    torch.testing.assert_close(ours.bias[0], alone.classifier.bias)


def of(epochs: int) -> Training:
    """A training of which a search reads the length."""

    def never(*_: object) -> None:
        raise AssertionError

    never_: Any = never
    return Training(0.1, 0.0, epochs, None, None, 64, torch.device("cpu"), never_, never_, never_)


def test_the_best_is_that_of_the_held_out_part() -> None:
    training = of(epochs=5)

    def searched(scale: float = 1.0) -> tuple[LinearCandidate, dict[LinearCandidate, float]]:
        candidates = [
            LinearCandidate(*each) for each in product((1e-5 / scale, 0.5 / scale), (0.0, 5.0))
        ]
        o = Optimization(scheduler="none")
        plans = {c: replace(o, lr=c.lr * scale, weight_decay=c.weight_decay) for c in candidates}
        return select_candidate(TRAIN, 10, plans, training, seed=4)

    best, reached = searched()
    assert best == LinearCandidate(0.5, 0.0)
    assert len(reached) == 4
    number = int(held_out(TRAIN[1], 4).sum())
    assert all(abs(share * number - round(share * number)) < 1e-9 for share in reached.values())
    assert reached[best] > 0.8 > reached[LinearCandidate(1e-5, 0.0)]
    assert searched()[1] == reached
    found = searched(scale=1000.0)
    assert found[0] == LinearCandidate(0.0005, 0.0)
    assert [*found[1].values()] == pytest.approx([*reached.values()], abs=0.03)


def test_a_search_leaves_the_random_numbers_alone() -> None:
    """The classifier that is trained then begins as it would without a grid."""
    training = of(epochs=1)
    plans = {LinearCandidate(lr, 0.0): Optimization(lr=lr) for lr in (0.1, 1.0)}
    before = torch.get_rng_state()
    select_candidate(TRAIN, 10, plans, training, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
