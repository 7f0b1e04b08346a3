"""Data sets of image files in a folder for each class."""

from collections.abc import Sequence
from pathlib import Path

from cl.data.sets._decode import SUFFIXES
from cl.data.sets._images import Images, in_files
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HELD_OUT, HOLD_OUT, split


def read_folders(
    name: str, where: Where, known: Sequence[str] | None = None, called: str = ""
) -> Source:
    """A folder for each class, in the order of their names (torchvision's ImageFolder).

    Args:
        name: of the data set.
        where: it lies.
        known: its classes, taken where the folder has more and no `--class_list` is given.
        called: what `known` is, for the note.
    """
    root, train_dir, val_dir = where.folder, where.train_dir, where.val_dir
    place = root / train_dir if train_dir else root / "train" if (root / "train").is_dir() else root
    if train_dir is None and val_dir is None and (root / "val").is_dir():
        val_dir = "val"
    only, note = listed(where.class_list)
    if only is None and known and len(class_names(place, "--train_dir")) > len(known):
        only, note = known, called
    classes, train = class_folder(place, "--train_dir", only)
    if val_dir is None:
        train, val = split(train, HOLD_OUT)
        how = f"no --val_dir: {HELD_OUT}"
        return Source(name, classes, train, val, note, held_out=HOLD_OUT, split=how)
    other = (root / val_dir).resolve()
    if other.is_relative_to(place.resolve()) or place.resolve().is_relative_to(other):
        raise ValueError(f"--val_dir {val_dir}: {other} and the training images overlap")
    names, val = class_folder(root / val_dir, "--val_dir", only)
    if names != classes:
        other = sorted(set(names) ^ set(classes))
        raise ValueError(
            f"--val_dir {val_dir}: its classes differ from the training part's in {len(other)}: "
            f"{', '.join(other[:5])}"
        )
    return Source(name, classes, train, val, note)


def listed(class_list: str | None) -> tuple[Sequence[str] | None, str]:
    """The classes in a file, None without one; and a note on them."""
    if not class_list:
        return None, ""
    lines = Path(class_list).read_text(encoding="utf-8").splitlines()
    only = sorted({line.strip() for line in lines if line.strip()})
    if not only:
        raise ValueError(f"--class_list {class_list}: no class in it")
    return only, f"{len(only)} classes of {class_list}"


def class_names(place: Path, flag: str) -> list[str]:
    """The folders in a folder."""
    if not place.is_dir():
        raise ValueError(f"{flag} {place}: no such folder")
    names = sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise ValueError(f"{flag} {place}: no class folders in it")
    return names


def class_folder(
    place: Path, flag: str, only: Sequence[str] | None = None
) -> tuple[list[str], Images]:
    """Class names, and the images of one part.

    Args:
        place: that holds the classes' folders.
        flag: which says the place, for errors.
        only: the classes to take, of all that are there.
    """
    classes = class_names(place, flag)
    if only is not None:
        if absent := sorted({*only} - {*classes}):
            raise ValueError(
                f"{flag} {place}: {len(absent)} of the {len(only)} wanted classes are not there "
                f"({', '.join(absent[:5])})"
            )
        classes = list(only)
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
    return classes, in_files(paths, labels)
