"""Linear evaluation: a classifier trained by SGD on the cached features of a frozen encoder.

The protocol of SimCLR (Chen et al. 2020, B.6) and of the ImageNet-100 recipes, without augmented
training views, which is what lets the features be extracted once; with them it is `augmented`.
Features are standardized, as those of `logistic` are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cl import distributed
from cl.bounds import NonNegative, Positive
from cl.config.programs import LR
from cl.config.schema import spell
from cl.data.module import ContrastiveData
from cl.eval import _classifier
from cl.eval._blocks import BLOCK
from cl.eval._probe import FeatureData, Grid, LinearProbe, Standardization, train_grid
from cl.eval._result import EvalResult, Features, Labels, TestFeatures, TestLabels, score
from cl.eval._select import check_selectable, labeled, select_hyperparameters
from cl.eval._training import Training
from cl.optim import Optimization
from cl.schedules import FOLLOWS_LOSS

# Of standardized features, where --lr says none; of those that are equally good the first is used.
RATES = (0.1, 0.3, 0.03, 1.0, 0.01)
STANDARDIZED = "standardized by the training part"
MULTILABEL = True


class LinearCandidate(NamedTuple):
    lr: float
    weight_decay: float


def linear(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    training: Training,
    lr_grid: tuple[Positive, ...] = (),
    weight_decay_grid: tuple[NonNegative, ...] = (),
    standardize: bool = True,
    seed: int = 0,
) -> EvalResult:
    """A linear classifier of frozen features by SGD, standardized and at the best of some rates.

    Args:
        train: features `(n d)` and labels `(n)`, or `(n c)` where an image may be of several
            classes: then the loss is binary cross-entropy, and what is selected has the best mAP.
        test: features `(m d)` and labels `(m)` or `(m c)`; validation decides nothing.
        classes: how many there are.
        training: optimizer, schedule, batch size and epochs.
        lr_grid: learning rates in place of --lr; the best on a held-out tenth of the training data
            is used (without --lr too, then of 0.1 0.3 0.03 1 0.01)
        weight_decay_grid: weight decays in place of --weight_decay, each combined with each
            learning rate; the best on a held-out tenth of the training data is used
        standardize: give each feature mean 0 and deviation 1 first, so that one range of learning
            rates suits features of any scale
        seed: of the order, the held-out part and the first weights of the grid.

    Returns:
        Top-k accuracies after the last epoch, or mAP, see `score`.

    Raises:
        ValueError: there is something to select and no class with two samples to hold one out.
    """
    lrs = learning_rates(training, lr_grid)
    decays = weight_decay_grid or (training.weight_decay,)
    grids = {"lr_grid": lr_grid, "weight_decay_grid": weight_decay_grid}
    precondition(train[1], test[1], classes, training=training, **grids)
    train, test = labeled(train), labeled(test)
    plans = {LinearCandidate(*each): training.plan(*each) for each in product(lrs, decays)}
    best, reached = select_candidate(train, classes, plans, training, seed, standardize=standardize)
    o = plans[best]
    scale = Standardization(train[0]) if standardize else None
    several = train[1].ndim == 2
    probe = LinearProbe(train[0].shape[1], classes, o, scale, multilabel=several)
    data = FeatureData(train, test, batch_size=training.batch_size, seed=seed)
    training.fit(probe, data)
    with torch.no_grad():
        scores = probe.cpu()(test[0])[0]
    how: dict[str, Any] = {"normalization": STANDARDIZED if standardize else "none"}
    if len(plans) > 1 or lr_grid or weight_decay_grid:
        number = "held_out_map" if several else "held_out_top1"
        how["grid"] = [{**c._asdict(), number: found} for c, found in reached.items()]
    how |= training.describe(probe.optimization)
    chosen = best._asdict() if "grid" in how else {}
    return score(scores, test[1], chosen=chosen, how=how)


def precondition(
    train: Labels,
    test: TestLabels,
    classes: int,
    *,
    training: Training,
    lr_grid: tuple[Positive, ...] = (),
    weight_decay_grid: tuple[NonNegative, ...] = (),
) -> None:
    """Check by the labels of both parts that `linear` can be done.

    Raises:
        ValueError: with the reason.
    """
    rates = learning_rates(training, lr_grid)
    check_rates(rates, training, lr_grid)
    candidates = len(rates) * len(weight_decay_grid or (0.0,))
    flags = "--lr_grid, --weight_decay_grid" if lr_grid or weight_decay_grid else "--lr"
    check_selectable(candidates, train, flags)


def check_rates(rates: Sequence[float], training: Training, lr_grid: tuple[Positive, ...]) -> None:
    """Check that no learning rate that is tried is below --min_lr.

    Raises:
        ValueError: the least one is.
    """
    try:
        training.plan(min(rates), 0.0)
    except ValueError as error:
        if len(rates) == 1:
            raise
        of = "--lr_grid" if lr_grid else f"{spell(rates)}, which are tried without --lr"
        raise ValueError(f"{error}; it is the least of {of}") from None


def working_memory(
    train: int,
    test: int,
    width: int,
    classes: int,
    *,
    training: Training,
    lr_grid: tuple[Positive, ...] = (),
    weight_decay_grid: tuple[NonNegative, ...] = (),
) -> int:
    """Bytes that `linear` takes beside the features: what is held out, the test part, classifiers.

    Args:
        train: training images.
        test: test images.
        width: dimensions of the features.
        classes: how many there are.
        training: has the learning rate, if one was given.
        lr_grid: the candidates.
        weight_decay_grid: likewise.
    """
    candidates = len(learning_rates(training, lr_grid)) * len(weight_decay_grid or (0.0,))
    selected = train * width * (candidates > 1)
    tested = test * (3 * width + 4 * classes)
    return 4 * (
        selected + 6 * min(BLOCK, train * width) + tested + 6 * candidates * (width + 1) * classes
    )


def learning_rates(training: Training, lr_grid: tuple[float, ...]) -> tuple[float, ...]:
    """The candidates: the grid's, or --lr, or else `RATES`; a plateau is followed by one alone."""
    if lr_grid or training.lr is not None:
        return lr_grid or (training.lr or 0.0,)
    follows = training.plan(None, 0.0).scheduler == FOLLOWS_LOSS
    return (LR,) if follows else RATES


def select_candidate(
    train: Features,
    classes: int,
    plans: Mapping[LinearCandidate, Optimization],
    training: Training,
    seed: int,
    *,
    standardize: bool = False,
) -> tuple[LinearCandidate, dict[LinearCandidate, float]]:
    """Select learning rate and weight decay on a held-out part of the training data.

    Args:
        train: features and labels; the test part is not among them.
        classes: how many there are.
        plans: the candidates, and how each is trained.
        training: epochs, batch size and device.
        seed: of the held-out part, the order and the first weights.
        standardize: first by the mean and deviation of what is not held out.

    Returns:
        The best candidate, and the held-out top-1 of each, or mAP.
    """

    def scores(part: Features, queries: Tensor) -> Iterator[tuple[LinearCandidate, Tensor]]:
        h, labels = part
        if standardize:
            scale = Standardization(h)
            for own in (h, queries):  # copies, since what is held out lies between
                own.sub_(scale.mean).div_(scale.deviation)
        with torch.random.fork_rng(devices=[]):  # what is trained then starts as without a search
            torch.manual_seed(seed)
            start = nn.Linear(queries.shape[1], classes)
            grid = Grid(start.to(queries), list(plans.values()))
            train_grid(
                (h, labels),
                grid,
                epochs=training.epochs,
                batch_size=training.batch_size,
                seed=seed,
                max_steps=training.max_steps,
                clip_grad_norm=training.clip_grad_norm,
            )
        with torch.no_grad():
            yield from zip(plans, grid(queries), strict=True)

    if len(plans) > 1:
        train = (train[0].to(training.device), train[1].to(training.device))
    flags = "--lr_grid, --weight_decay_grid"
    best, reached = select_hyperparameters(plans, scores, train, seed, flags)
    return distributed.broadcast_object(best), reached  # on other devices another may be as good


def augmented(
    encoder: nn.Module,
    data: ContrastiveData,
    classes: int,
    *,
    training: Training,
    standardize: bool = True,
    channels_last: bool = True,
) -> EvalResult:
    """A linear classifier on the frozen encoder, of images that are augmented anew each epoch.

    Args:
        encoder: `(n c h w)` images to `(n d)` features; it stays as it is.
        data: crops of the training images, plain test images.
        classes: how many there are.
        training: optimizer, schedule, batch size and epochs.
        standardize: give each feature mean 0 and deviation 1 first, by running statistics
        channels_last: the layout in memory.

    Returns:
        Top-k accuracies after the last epoch, see `score`.
    """
    return _classifier.learn(
        encoder,
        data,
        classes,
        training,
        frozen=True,
        standardize=standardize,
        channels_last=channels_last,
    )
