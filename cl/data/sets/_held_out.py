"""What validates of the samples of a file: those that say so, or some of the documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cl.data.sets._images import Index
from cl.data.sets._walk import VALIDATION, part_of_name

HELD_OUT = 0.1  # of the documents, where a file has no part for validation


def part_in(row: Mapping[str, Any], place: str) -> str | None:
    """The part that the `split` of an object says it belongs to; None if it says nothing.

    Args:
        row: the object.
        place: of it, for messages.

    Raises:
        ValueError: it is a word of no part.
    """
    if "split" not in row:
        return None
    part = part_of_name(str(row["split"]))
    if part is None:
        raise ValueError(f'{place}: "split" must be train, val or test, not {row["split"]}')
    return part


def parts_of(parts: Sequence[str | None], labels: Index) -> tuple[Index, Index, str]:
    """The places of training and of validation, and in words how they came about.

    What says val validates, or else what says test; if nothing says either, a tenth of the
    documents does, always the same ones, so that no document is in both.

    Args:
        parts: of each sample.
        labels: the number of each sample's document.
    """
    named = np.array([part or "train" for part in parts])
    second = next((part for part in VALIDATION if (named == part).any()), None)
    if second is not None:
        return np.flatnonzero(named == "train"), np.flatnonzero(named == second), ""
    documents = np.unique(labels)
    number = min(len(documents) - 1, max(1, round(HELD_OUT * len(documents))))
    chosen = np.random.default_rng(0).permutation(documents)[:number]
    held_out = np.isin(labels, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out), "a tenth of the documents"
