"""Data sets of files: a folder for each class, and Tiny ImageNet as it is distributed."""

from collections.abc import Sequence
from pathlib import Path

from cl.data.decode import SUFFIXES
from cl.data.images import Images, in_files
from cl.data.parts import HELD_OUT, HOLD_OUT, Source, Where, split

# The 100 classes of ImageNet-100 (CMC, Tian et al. 2019, https://arxiv.org/abs/1906.05849).
IMAGENET100 = Path(__file__).with_name("imagenet100.txt")
TINY = "tiny-imagenet-200"
TINY_ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def folders(name: str, where: Where) -> Source:
    """A folder for each class, in the order of their names (torchvision's ImageFolder)."""
    root, train_dir, val_dir = where.folder, where.train_dir, where.val_dir
    place = root / train_dir if train_dir else root / "train" if (root / "train").is_dir() else root
    if train_dir is None and val_dir is None and (root / "val").is_dir():
        val_dir = "val"
    only, note = wanted(name, place, where.class_list)
    classes, train = class_folder(place, "--train_dir", only)
    if val_dir is None:
        train, val = split(train, HOLD_OUT)
        note = "; ".join(filter(None, (note, f"no --val_dir: {HELD_OUT}")))
        return Source(name, classes, train, val, note)
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


def wanted(name: str, place: Path, class_list: str | None) -> tuple[list[str] | None, str]:
    """Which classes of a folder are taken, None for all of them; and a word on it."""
    if class_list:
        lines = Path(class_list).read_text(encoding="utf-8").splitlines()
        only = sorted({line.strip() for line in lines if line.strip()})
        if not only:
            raise ValueError(f"--class_list {class_list}: no class in it")
        return only, f"{len(only)} classes of {class_list}"
    if name == "imagenet100" and len(class_names(place, "--train_dir")) > 100:
        return IMAGENET100.read_text().split(), "the 100 classes of CMC (Tian et al. 2019)"
    return None, ""


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


def tiny_imagenet(name: str, where: Where) -> Source:
    """Tiny ImageNet's 200 classes; the validation part's are in a table beside its images."""
    place = where.folder / TINY
    table = place / "val" / "val_annotations.txt"
    for needed in (place / "train", table):
        if not needed.exists():
            raise ValueError(
                f"--data_folder {where.folder}: no {needed.relative_to(where.folder)} in it; "
                f"unpack {TINY_ADDRESS} there"
            )
    classes, train = class_folder(place / "train", "--data_folder")
    label_of = {c: label for label, c in enumerate(classes)}
    rows = [line.split("\t")[:2] for line in table.read_text().splitlines() if line.strip()]
    if wrong := [row for row in rows if len(row) < 2 or row[1] not in label_of]:
        raise ValueError(f"{table}: {' '.join(wrong[0])} names no class of the training part")
    paths = [place / "val" / "images" / file for file, _ in rows]
    return Source(name, classes, train, in_files(paths, [label_of[c] for _, c in rows]))
