"""What an evaluation returns, and a classifier's metrics: top-k, intervals, confusion matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.nets.probe import topk_correct

# Labels, or where an image may be of several classes 1 for each of them.
Labels = Int[Tensor, " n"] | Int[Tensor, "n c"]
TestLabels = Int[Tensor, " m"] | Int[Tensor, "m c"]
KnownLabels = Int[Tensor, " k"] | Int[Tensor, "k c"]
Features = tuple[Float[Tensor, "n d"], Labels]  # of one part, with labels
TestFeatures = tuple[Float[Tensor, "m d"], TestLabels]  # of the part that is measured on
BothParts = Sequence[tuple[Tensor, Tensor]]  # features of the training and of the test part

# What an evaluation gives whose file has no NUMBERS of its own, and beside of several labels.
NUMBERS = ("top1", "top5", "top10", "mean_per_class")
NUMBERS_OF_SEVERAL = ("map",)
ROUNDING = 1e-12  # a deviation up to this is 0


@dataclass(frozen=True)
class EvalResult:
    """What an evaluation returns.

    Args:
        numbers: metrics by name, shares between 0 and 1; the evaluation is quoted by the first one.
        chosen: hyperparameters that were selected on a held-out part of the training data.
        how: what the evaluation itself adds to its protocol card; what it was given stands there
            without its help.
        confusion: `(c c)` counts, true classes down and predicted classes across.
        encoder: the encoder that was trained, if one was.
        predictions: `(n 2)`, the true and the predicted class of each image that was measured on.
    """

    numbers: dict[str, Any]
    chosen: dict[str, float] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)
    confusion: Int[Tensor, "c c"] | None = None
    encoder: nn.Module | None = None
    predictions: Int[Tensor, "n 2"] | None = None


def score(scores: Float[Tensor, "n c"], labels: Labels, **more: Any) -> EvalResult:
    """Top-1, top-5 and top-10 (where there are more classes) and the accuracy of every class.

    Args:
        scores: `(n c)`, one for each class; the largest is the prediction.
        labels: `(n)`, the true classes; samples with a label below 0 do not count. Or `(n c)`, 1
            for each class of a sample that may be of several.
        more: other fields of `EvalResult`.

    Returns:
        `top1`, `top5`, `top10` with their 95 % intervals (Wilson 1927); `mean_per_class`, over the
        classes that have a sample; `per_class`, None for one that has none; the confusion matrix
        and the predictions. Of several classes `map`, the mean of the average precisions of the
        classes that have a sample, with its 95 % interval (normal, by the infinitesimal jackknife;
        none where no sample's weight changes it), and these as `per_class`.

    Raises:
        ValueError: no sample has a label, there is one class only, or a score is not finite.
    """
    scores, labels = scores.cpu(), labels.cpu()
    if labels.ndim == 1:
        scores, labels = scores[labels >= 0], labels[labels >= 0]
    n, classes = len(labels), scores.shape[1]
    if not n or (labels.ndim == 2 and not labels.any()):
        raise ValueError("the part that is measured on has no labeled image")
    if not scores.isfinite().all():  # the largest of NaN is the first: class 0 for every sample
        raise ValueError(
            "the scores of the classes are not finite (NaN or infinite): the classifier diverged, "
            "or its features did; a lower --lr or --precision 32 may help"
        )
    if labels.ndim == 2:
        each = average_precisions(scores, labels)
        per_class = [None if x != x else x for x in each.tolist()]
        value = float(each.nanmean())
        numbers: dict[str, Any] = {"map": value}
        error = deviation_of_map(scores, labels)
        if error > ROUNDING:  # else the interval has no width, and means nothing
            numbers["map_95"] = normal(value, error)
        return EvalResult(numbers | {"per_class": per_class}, **more)
    check_classes(classes)
    predicted = scores.argmax(dim=1)
    counts = confusion(predicted, labels, classes)
    shares = counts.diagonal().double() / counts.sum(dim=1)
    numbers = {}
    for k in (1, 5, 10):
        if k < classes:
            right = int(topk_correct(scores, labels, k))
            numbers |= {f"top{k}": right / n, f"top{k}_95": interval(right, n)}
        if k == 1:
            numbers["mean_per_class"] = float(shares.nanmean())
    numbers["per_class"] = [None if s != s else s for s in shares.tolist()]
    pairs = torch.stack([labels, predicted], dim=1)
    return EvalResult(numbers, confusion=counts, predictions=pairs, **more)


def average_precisions(
    scores: Float[Tensor, "n c"], labels: Int[Tensor, "n c"]
) -> Float[Tensor, " c"]:
    r"""Average precision of each class: $\sum_k (R_k - R_{k-1}) P_k$ over the different scores.

    P and R are precision and recall of the samples with at least the k-th score, as scikit-learn's
    `average_precision_score` has them; NaN of a class without a sample.

    >>> average_precisions(torch.tensor([[0.9], [0.8], [0.1]]), torch.tensor([[1], [0], [1]]))
    tensor([0.8333], dtype=torch.float64)
    """
    once = torch.ones(len(scores), dtype=torch.float64, device=scores.device)
    return weighted_precisions(scores, labels, once)


def weighted_precisions(
    scores: Float[Tensor, "n c"], labels: Int[Tensor, "n c"], weights: Float[Tensor, " n"]
) -> Float[Tensor, " c"]:
    """Average precisions where each sample counts as much as `weights` says.

    They are scikit-learn's with `sample_weight`; NaN of a class without a sample, which has no
    gradient either.
    """
    found = []
    for own, true in zip(scores.T, labels.T, strict=True):
        order = own.argsort(descending=True)
        # Samples of one score come together: what counts is the last of them.
        last = torch.ones_like(order, dtype=torch.bool)
        last[:-1] = own[order][1:] != own[order][:-1]
        weight, hit = weights[order], true[order] > 0
        rank, right = weight.cumsum(dim=0)[last], (weight * hit).cumsum(dim=0)[last]
        gained = torch.diff(right, prepend=right.new_zeros(1))
        precision = (gained * right / rank.where(rank > 0, 1)).sum() / right[-1]
        found.append(precision if right[-1] > 0 else precision.detach() * torch.nan)
    return torch.stack(found)


def deviation_of_map(scores: Float[Tensor, "n c"], labels: Int[Tensor, "n c"]) -> float:
    r"""The deviation of the mean average precision from one set of so many images to another.

    By the infinitesimal jackknife (Jaeckel 1972): the root of $\sum_i (\partial m / \partial
    w_i)^2$, w the images' weights.
    """
    weights = torch.ones(len(scores), dtype=torch.float64, requires_grad=True)
    slopes, measured = torch.zeros_like(weights, requires_grad=False), 0
    for own, true in zip(scores.split(1, dim=1), labels.split(1, dim=1), strict=True):
        if (true > 0).any():  # one class at a time: its graph holds some numbers of each sample
            with torch.enable_grad():
                precision = weighted_precisions(own, true, weights)
                slopes += torch.autograd.grad(precision.sum(), weights)[0]
            measured += 1
    return float(slopes.norm()) / measured


def check_classes(classes: int) -> None:
    """Check that there is something to tell apart.

    Raises:
        ValueError: there are fewer than two classes.
    """
    if classes < 2:
        raise ValueError(
            "an accuracy needs two classes of labeled images: with fewer every answer is right"
        )


def interval(right: int, n: int) -> list[float]:
    """95 % confidence interval of a share (Wilson 1927), which has a width for 100 % too.

    >>> [round(bound, 3) for bound in interval(10, 10)]
    [0.722, 1.0]
    """
    z, share = NormalDist().inv_cdf(0.975), right / n
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt((share * (1 - share) + z**2 / (4 * n)) / n)
    return [max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))]


def normal(share: float, error: float) -> list[float]:
    """95 % confidence interval of a share by the normal distribution, within 0 and 1.

    >>> [round(bound, 3) for bound in normal(0.9, 0.1)]
    [0.704, 1.0]
    """
    half = NormalDist().inv_cdf(0.975) * error
    return [max(0.0, share - half), min(1.0, share + half)]


def confusion(
    given: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: int
) -> Int[Tensor, "c c"]:
    """Confusion matrix: how often each class (down) was predicted as each (across).

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return torch.bincount(labels * classes + given, minlength=classes**2).view(classes, classes)
