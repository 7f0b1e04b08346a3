"""Selecting hyperparameters without the test set: on a held-out part of the training data."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cl.eval._blocks import rows_in_block
from cl.eval._result import Features, KnownLabels, Labels, average_precisions
from cl.nets.probe import topk_correct

HELD_OUT_SHARE = 0.1  # of every class
S = TypeVar("S")


def labeled(part: Features) -> tuple[Float[Tensor, "k d"], KnownLabels]:
    """The samples of a part that have a label; all where one may have several.

    Raises:
        ValueError: a feature is NaN or infinite, of which every comparison means nothing.
    """
    h, labels = part
    known = labels >= 0 if labels.ndim == 1 else torch.ones(len(labels), dtype=torch.bool)
    h, labels = (h, labels) if known.all() else (h[known], labels[known])
    blocks = h.split(rows_in_block(h.shape[1]))  # which may be mapped from a file
    if broken := sum(int((~rows.isfinite().all(dim=1)).sum()) for rows in blocks):
        raise ValueError(
            f"the features of {broken:,} of {len(h):,} images are not finite (NaN or infinite)"
        )
    return h, labels


def check_bank(labels: Labels) -> None:
    """Check that a training part can teach something.

    Raises:
        ValueError: it has no two classes; of several labels none that some images have.
    """
    if labels.ndim == 2:
        if not ((labels == 1).any(dim=0) & (labels == 0).any(dim=0)).any():
            raise ValueError("the training part needs a class that some of its images are of")
        return
    if len(labels[labels >= 0].unique()) < 2:
        raise ValueError("the training part needs labeled images of two classes")


def check_selectable(settings: int, labels: Labels, flags: str) -> None:
    """Check that a part can be held out, where there is something to select.

    Args:
        settings: how many candidates there are.
        labels: of the training part.
        flags: where the settings come from.

    Raises:
        ValueError: every class has one sample, so that none can be held out.
    """
    check_bank(labels)
    if labels.ndim == 2:
        return
    if settings > 1 and int(torch.bincount(labels[labels >= 0]).max()) < 2:
        raise ValueError(
            f"{flags} must be one value: --data_fraction leaves each class one image, so that none "
            "can be held out to select by."
        )


def held_out(labels: Labels, seed: int) -> Bool[Tensor, " n"]:
    """Which samples are held out: a tenth of every class of two or more, the seed's.

    Of samples that may be of several classes it is a tenth of all.
    """
    labels = labels if labels.ndim == 1 else torch.zeros_like(labels[:, 0])
    labels, generator = labels.cpu(), torch.Generator().manual_seed(seed)
    place = torch.rand(len(labels), generator=generator)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for c in labels.unique():
        (of,) = torch.where(labels == c)
        number = min(len(of) - 1, max(1, round(HELD_OUT_SHARE * len(of))))
        held[of[place[of].argsort()[:number]]] = True
    return held


def select_hyperparameters(
    settings: Iterable[S],
    scores: Callable[[Features, Tensor], Iterable[tuple[S, Float[Tensor, "m c"]]]],
    train: Features,
    seed: int,
    flags: str,
) -> tuple[S, dict[S, float]]:
    """Select the setting with the best top-1, or mAP, on the held-out part.

    Args:
        settings: candidates; a single one is returned as it is, of equally good ones the first.
        scores: fits on a part and predicts for features `(m d)`: yields each setting with its class
            scores `(m c)`.
        train: labeled samples; the test part is never seen here.
        seed: of the split.
        flags: where the settings come from, for error messages.

    Returns:
        The setting, and the held-out number of each; empty where there was nothing to select.

    Raises:
        ValueError: every class has one sample, so that none can be held out.
    """
    settings = list(settings)
    if len(settings) == 1:
        return settings[0], {}
    h, labels = train
    check_selectable(len(settings), labels, flags)
    held = held_out(labels, seed).to(labels.device)
    found = scores((h[~held], labels[~held]), h[held])
    reached = {s: quality(x, labels[held]) for s, x in found}
    return max(settings, key=lambda s: reached[s]), reached


def quality(scores: Float[Tensor, "m c"], labels: Labels) -> float:
    """Top-1, or mAP of samples that may be of several classes; 0 where none is of any."""
    if labels.ndim == 1:
        return int(topk_correct(scores, labels, 1)) / len(labels)
    found = average_precisions(scores, labels)
    return float(found.nanmean().nan_to_num())
