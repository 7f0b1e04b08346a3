"""Data sets by name: where they lie, what is in them, which part is for validation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cl.data import cifar
from cl.data.decode import SUFFIXES, decode

HOLD_OUT = 0.1  # of every class, where a data set has no validation part


@dataclass(frozen=True, eq=False)
class Images:
    """Images with labels: their pixels, or the files they are in.

    Args:
        labels: -1 where there is none.
        pixels: `(n h w 3)`, if they are in memory.
        paths: a file each, if they are not.
    """

    labels: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.uint8] | None = None
    paths: list[Path] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pixel(self, index: int) -> npt.NDArray[np.uint8]:
        """One image, `(h w 3)`."""
        if self.pixels is not None:
            return self.pixels[index]
        assert self.paths is not None
        return decode(self.paths[index])

    def subset(self, index: npt.NDArray[np.int64]) -> "Images":
        """Some of them, in that order."""
        return Images(
            self.labels[index],
            None if self.pixels is None else self.pixels[index],
            None if self.paths is None else [self.paths[i] for i in index],
        )


@dataclass(frozen=True, eq=False)
class Source:
    """A data set.

    Args:
        name: as on the command line.
        classes: their names.
        train: what is trained on.
        val: what is measured on; no image is in both.
        note: what the user should know about the parts.
    """

    name: str
    classes: list[str]
    train: Images
    val: Images
    note: str = ""


def load(
    name: str,
    data_folder: str,
    train_dir: str | None = None,
    val_dir: str | None = None,
    download: bool = False,
) -> Source:
    """The data set of that name.

    Args:
        name: digits, cifar10, cifar100, stl10, or a set of class folders.
        data_folder: where data sets are.
        train_dir: of class folders, inside it.
        val_dir: likewise; without it a tenth of every training class is held out.
        download: fetch it with torchvision if it is not there.

    Raises:
        ValueError: it is not there or not what it should be; names the flag and the place.
    """
    if name == "digits":
        return digits()
    if name in ("cifar10", "cifar100"):
        return in_memory(name, lambda: cifar.load(name, Path(data_folder), download))
    if name == "stl10":
        return in_memory(name, lambda: stl10(Path(data_folder), download))
    return folders(name, Path(data_folder), train_dir, val_dir)


Parts = tuple[list[str], npt.NDArray[np.uint8], list[int], npt.NDArray[np.uint8], list[int]]


def in_memory(name: str, read: Callable[[], Parts]) -> Source:
    classes, x, y, xv, yv = read()
    train, val = (
        Images(np.array(b, np.int64), np.ascontiguousarray(a)) for a, b in ((x, y), (xv, yv))
    )
    return Source(name, classes, train, val)


def digits() -> Source:
    """Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; a fifth of every class validates."""
    from sklearn.datasets import load_digits  # a second, and only for this set

    data: Any = load_digits()
    gray = (data.images * (255 / 16)).round().astype(np.uint8)
    everything = Images(
        data.target.astype(np.int64), np.ascontiguousarray(np.repeat(gray[..., None], 3, axis=3))
    )
    train, val = split(everything, 0.2)
    return Source("digits", [str(c) for c in range(10)], train, val, "a fifth validates")


def split(images: Images, share: float) -> tuple[Images, Images]:
    """A part of every class apart, always the same one; a class of one image stays in the first."""
    rng, chosen = np.random.default_rng(0), []
    for c in np.unique(images.labels[images.labels >= 0]):
        of = np.flatnonzero(images.labels == c)
        number = min(len(of) - 1, max(1, round(share * len(of))))
        chosen.append(rng.permutation(of)[:number])
    held = np.sort(np.concatenate(chosen))
    kept = np.setdiff1d(np.arange(len(images)), held)
    return images.subset(kept), images.subset(held)


def stl10(folder: Path, download: bool) -> Parts:
    """STL-10: 5,000 labelled and 100,000 unlabelled images train, 8,000 validate."""
    from torchvision.datasets import STL10

    try:
        parts = [STL10(str(folder), s, download=download) for s in ("train+unlabeled", "test")]
    except RuntimeError:
        raise ValueError(
            f"--data_folder {folder}: no STL-10 (stl10_binary/) in it; --download fetches 2.5 GB"
        ) from None
    (x, y), (xv, yv) = (
        (p.data.transpose(0, 2, 3, 1), np.asarray(p.labels).tolist()) for p in parts
    )
    return list(parts[0].classes), x, y, xv, yv


def folders(name: str, root: Path, train_dir: str | None, val_dir: str | None) -> Source:
    """A folder for each class, in the order of their names (torchvision's ImageFolder)."""
    place = root / train_dir if train_dir else root / "train" if (root / "train").is_dir() else root
    if train_dir is None and val_dir is None and (root / "val").is_dir():
        val_dir = "val"
    classes, train = class_folder(place, "--train_dir")
    if val_dir is None:
        train, val = split(train, HOLD_OUT)
        return Source(name, classes, train, val, "no --val_dir: a tenth of every class is held out")
    names, val = class_folder(root / val_dir, "--val_dir")
    if names != classes:
        other = sorted(set(names) ^ set(classes))
        raise ValueError(
            f"--val_dir {val_dir}: its classes differ from the training part's in {len(other)}: "
            f"{', '.join(other[:5])}"
        )
    return Source(name, classes, train, val)


def class_folder(place: Path, flag: str) -> tuple[list[str], Images]:
    """Paths and labels of one part."""
    if not place.is_dir():
        raise ValueError(f"{flag} {place}: no such folder")
    classes = sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise ValueError(f"{flag} {place}: no class folders in it")
    paths, labels, empty = [], [], []
    for label, c in enumerate(classes):
        found = sorted(p for p in (place / c).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            empty.append(c)
        paths += found
        labels += [label] * len(found)
    if empty:
        raise ValueError(
            f"{flag} {place}: {len(empty)} classes without images ({', '.join(empty[:5])}); "
            f"images end in {' '.join(SUFFIXES)}"
        )
    return classes, Images(np.array(labels, np.int64), paths=paths)
