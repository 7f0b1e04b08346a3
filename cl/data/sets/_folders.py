"""Data sets of image files, in a folder for each class or in one without classes."""

from collections.abc import Sequence
from pathlib import Path

from cl.data.sets._decode import SUFFIXES
from cl.data.sets._images import Images, in_files
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HELD_OUT, HOLD_OUT, split


def read_folders(
    name: str, where: Where, known: Sequence[str] | None = None, called: str = ""
) -> Source:
    """Read a folder for each class, in the order of their names (torchvision's ImageFolder).

    Args:
        name: of the data set.
        where: the folders and flags.
        known: the classes of the data set: those that are used if the folder has more of them and
            no `--class_list` is given.
        called: what `known` is, for the note.

    Returns:
        The data set; images that lie in no class folder have no labels.
    """
    root, train_dir, val_dir = where.folder, where.train_dir, where.val_dir
    place = root / train_dir if train_dir else root / "train" if (root / "train").is_dir() else root
    if train_dir is None and val_dir is None and (root / "val").is_dir():
        val_dir = "val"
    only, note = read_class_list(where.class_list)
    if only is None and known and len(class_folders(place, "--train_dir")) > len(known):
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


def read_class_list(class_list: str | None) -> tuple[Sequence[str] | None, str]:
    """The classes that a file lists, None without a file; and a note on them."""
    if not class_list:
        return None, ""
    lines = Path(class_list).read_text(encoding="utf-8").splitlines()
    only = sorted({line.strip() for line in lines if line.strip()})
    if not only:
        raise ValueError(f"--class_list {class_list}: no class in it")
    return only, f"{len(only)} classes of {class_list}"


def class_folders(place: Path, flag: str) -> list[str]:
    """The names of the folders in a folder; none if it has images instead.

    Raises:
        ValueError: there is no such folder, or neither folders nor images in it.
    """
    if not place.is_dir():
        raise ValueError(f"{flag} {place}: no such folder")
    names = sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names and not images_below(place):
        raise ValueError(
            f"{flag} {place}: no class folders in it, and no images; images end in "
            f"{' '.join(SUFFIXES)}"
        )
    return names


def images_below(folder: Path) -> list[Path]:
    """All image files in a folder and in the folders in it."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def class_folder(
    place: Path, flag: str, only: Sequence[str] | None = None
) -> tuple[list[str], Images]:
    """Class names, and the images of one part; of a folder of images, no names and no labels.

    Args:
        place: the folder that holds a folder for each class.
        flag: the flag that named it, for errors.
        only: the classes to use, of all that are there.
    """
    classes = class_folders(place, flag)
    if not classes and only is None:
        return [], in_files(images_below(place))
    if only is not None:
        if absent := sorted({*only} - {*classes}):
            raise ValueError(
                f"{flag} {place}: {len(absent)} of the {len(only)} wanted classes are not there "
                f"({', '.join(absent[:5])})"
            )
        classes = list(only)
    paths, labels, empty = [], [], []
    for label, c in enumerate(classes):
        files = images_below(place / c)
        if not files:
            empty.append(c)
        paths += files
        labels += [label] * len(files)
    if empty:
        raise ValueError(
            f"{flag} {place}: {len(empty)} classes without images ({', '.join(empty[:5])}); "
            f"images end in {' '.join(SUFFIXES)}"
        )
    return classes, in_files(paths, labels)
