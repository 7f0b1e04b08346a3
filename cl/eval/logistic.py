"""Multinomial logistic regression by L-BFGS: one optimum, whatever the seed."""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cl.bounds import Positive
from cl.eval._blocks import BLOCK, KEPT, Blocks, rows_in_block
from cl.eval._lbfgs import ENOUGH, HISTORY, WIDEST, Preconditioner, run_lbfgs
from cl.eval._probe import Standardization
from cl.eval._result import EvalResult, Features, Labels, TestFeatures, TestLabels, score
from cl.eval._select import check_selectable, labeled, select_hyperparameters

ITERATIONS = 10_000  # C = 1e4 of features that are nearly dependent takes hundreds
MULTILABEL = True
SMALL = 1e-5  # largest entry of a gradient that is not warned of


class Optimum(NamedTuple):
    """A classifier at the end of its search, and how that ended.

    Args:
        classifier: of standardized features.
        iterations: of L-BFGS.
        gradient: its largest entry there.
    """

    classifier: nn.Linear
    iterations: int
    gradient: float


class Standardized(NamedTuple):
    """A classifier of features that are first standardized by its training part."""

    fit: Optimum
    scale: Standardization

    def __call__(self, queries: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        rows = rows_in_block(queries.shape[1])
        return torch.cat([self.fit.classifier(self.scale(q.float())) for q in queries.split(rows)])


def logistic(
    train: Features,
    test: TestFeatures,
    classes: int,
    *,
    c: tuple[Positive, ...] = (1.0,),
    seed: int = 0,
) -> EvalResult:
    r"""Logistic regression by L-BFGS to the optimum, of standardized features.

    Equivalent to scikit-learn's `make_pipeline(StandardScaler(), LogisticRegression(C=c))` where
    each class has a training image, and where an image may be of several classes to
    `OneVsRestClassifier` of it.

    Args:
        train: features `(n d)` and labels `(n)`; those without a label (below 0) are left out. Or
            labels `(n c)`, 1 for each class of an image.
        test: features `(m d)` and labels `(m)` or `(m c)`.
        classes: how many there are.
        c: scikit-learn's C of the logistic regression, the inverse of n times the weight decay; if
            several are given, the best on a held-out tenth of the training data is used
        seed: of the held-out part.

    Returns:
        Top-k accuracies, or mAP, see `score`.

    Raises:
        ValueError: there is something to select and no class with two samples to hold one out.
    """

    def scores(part: Features, queries: Tensor) -> Iterator[tuple[float, Tensor]]:
        for value in c:
            yield value, classifier_of(part, classes, value)(queries)

    precondition(train[1], test[1], classes, c=c)
    train, test = labeled(train), labeled(test)
    best, _ = select_hyperparameters(c, scores, train, seed, "--c")
    classifier = classifier_of(train, classes, best)
    _, iterations, gradient = classifier.fit
    if iterations >= ITERATIONS or gradient > SMALL:
        warnings.warn(
            f"--c {best:g}: not at the optimum after {iterations:,} iterations, where the gradient "
            f"is {gradient:.1g}; a smaller --c has one that is found",
            stacklevel=2,
        )
    return score(
        classifier(test[0]),
        test[1],
        chosen={"c": best} if len(c) > 1 else {},
        how={
            "c": best,
            "iterations": iterations,
            "normalization": "standardized by the training part",
        },
    )


def precondition(train: Labels, test: TestLabels, classes: int, *, c: tuple[Positive, ...]) -> None:
    """Check by the labels of both parts that `logistic` can be done.

    Raises:
        ValueError: with the reason.
    """
    check_selectable(len(c), train, "--c")


def working_memory(
    train: int, test: int, width: int, classes: int, *, c: tuple[Positive, ...]
) -> int:
    """Bytes that `logistic` takes beside the features: blocks, L-BFGS, scores, what is held out.

    Args:
        train: training images.
        test: test images.
        width: dimensions of the features.
        classes: how many there are.
        c: the candidates.
    """
    kept = train * width if train * width <= KEPT else 0
    selected = train * width * (len(c) > 1)
    blocks = 3 * kept + 8 * min(BLOCK, train * max(width, classes))  # in float32 and in float64
    factor = 8 * (width + 1) ** 2 if width < WIDEST else 0
    search = 4 * (HISTORY + 6) * (width + 1) * classes + factor
    return 4 * (selected + blocks + search + 4 * test * classes)


def classifier_of(part: Features, classes: int, c: float) -> Standardized:
    """The classifier of a part that scikit-learn has at this C."""
    # It has one row of weights for two classes, which is the difference of two.
    rows = 2 if classes == 2 and part[1].ndim == 1 else 1
    return fit_standardized(part, classes, l2=rows / (c * len(part[0])), steps=ITERATIONS)


def fit_standardized(part: Features, classes: int, *, l2: float, steps: int) -> Standardized:
    """The classifier of a part's standardized features; one that is constant there is centered."""
    h = part[0].float() if part[0].dtype == torch.float64 else part[0]
    scale = Standardization(h)
    fit = fit_classifier(h, part[1], classes, l2=l2, steps=steps, scale=scale)
    return Standardized(fit, scale)


def fit_classifier(
    h: Float[Tensor, "n d"],
    labels: Labels,
    classes: int,
    *,
    l2: float,
    steps: int,
    scale: nn.Module | None = None,
) -> Optimum:
    """The linear classifier at the minimum, from zero weights.

    Args:
        h: features, which may be mapped from a file: loss and gradient are summed over blocks.
        labels: theirs.
        classes: how many there are.
        l2: the weight decay.
        steps: at most.
        scale: what is done to each block of features first; by default nothing.
    """
    dtype = torch.promote_types(h.dtype, torch.float32)
    classifier = nn.Linear(h.shape[1], classes, device=h.device, dtype=dtype)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    part = h, labels
    blocks = Blocks(part, classes, scale, dtype)
    probability = 1 / classes if labels.ndim == 1 else 0.5
    by = Preconditioner(blocks, probability * (1 - probability), l2).to(dtype)
    iterations, gradient = run_lbfgs(classifier, blocks, sample_losses, l2=l2, by=by, steps=steps)
    if gradient > ENOUGH and dtype != torch.float64 and iterations < steps:
        # Of features that are nearly dependent float32 ends up to 1e-2 above the least objective.
        classifier, by, steps = classifier.double(), by.to(torch.float64), steps - iterations
        exact = Blocks(part, classes, scale, torch.float64)
        more, gradient = run_lbfgs(classifier, exact, sample_losses, l2=l2, by=by, steps=steps)
        iterations += more
    return Optimum(classifier.to(dtype).requires_grad_(False), iterations, gradient)


def sample_losses(logits: Float[Tensor, "n c"], labels: Labels) -> Float[Tensor, " n"]:
    """Cross-entropy of each sample, or the sum over classes of the binary one."""
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels, reduction="none")
    targets = labels.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1)
