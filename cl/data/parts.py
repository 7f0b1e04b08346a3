"""A data set's parts: what is held out for validation, a share of the training images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl.data.images import Images

HOLD_OUT = 0.1  # of every class, where a data set has no validation part
HELD_OUT = "a tenth of every class is held out"


@dataclass(frozen=True)
class Where:
    """Where a data set is looked for; the fields are flags.

    Args:
        folder: `--data_folder`.
        train_dir: inside it.
        val_dir: inside it.
        class_list: a file with the classes to take.
        download: fetch what is not there.
    """

    folder: Path
    train_dir: str | None = None
    val_dir: str | None = None
    class_list: str | None = None
    download: bool = False


@dataclass(frozen=True, eq=False)
class Source:
    """A data set.

    Args:
        name: as on the command line.
        classes: their names.
        train: what is trained on.
        val: what is measured on; no image is in both.
        note: what the user should know about the parts.
        skipped: names of the images that could not be read and were left out.
    """

    name: str
    classes: list[str]
    train: Images
    val: Images
    note: str = ""
    skipped: tuple[str, ...] = ()


def split(images: Images, share: float) -> tuple[Images, Images]:
    """A part of every class apart, always the same one; a class of one image stays in the first."""
    rng, chosen = np.random.default_rng(0), [np.empty(0, np.int64)]
    for c in np.unique(images.labels[images.labels >= 0]):
        of = np.flatnonzero(images.labels == c)
        number = min(len(of) - 1, max(1, round(share * len(of))))
        chosen.append(rng.permutation(of)[:number])
    held = np.sort(np.concatenate(chosen))
    kept = np.setdiff1d(np.arange(len(images)), held)
    return images.subset(kept), images.subset(held)


def fraction(images: Images, share: float) -> Images:
    """A share of the images up to 1, or so many; every class, and what has no label, in proportion.

    Of a class of n images the k-th in a fixed order stands at k / n, and the first in the order of
    all are taken: each class has its share rounded up, but for ties at the end, and a smaller
    fraction lies inside of a larger one.

    Raises:
        ValueError: more than there are.
    """
    total = len(images)
    number = max(1, round(share * total)) if share <= 1 else int(share)
    if number > total:
        raise ValueError(f"--data_fraction {number}: there are {total} training images")
    rng, place = np.random.default_rng(0), np.empty(total)
    for c in np.unique(images.labels):
        of = np.flatnonzero(images.labels == c)
        place[rng.permutation(of)] = np.arange(len(of)) / len(of)
    order = np.lexsort((rng.permutation(total), place))
    return images.subset(np.sort(order[:number]))
