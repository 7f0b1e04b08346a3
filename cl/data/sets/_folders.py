"""Data sets of image files, in a folder for each class or in one without classes."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cl.data.sets._images import Images, Paths, in_files
from cl.data.sets._layout import Layout, find_layout
from cl.data.sets._paths import PathArray
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._walk import Walk, visible_folders

WORDNET = re.compile(r"n\d{8}")  # the names of ImageNet's class folders
NAMED = 5  # of many things, in a message


def read_folders(
    name: str,
    where: Where,
    known: Sequence[str] | None = None,
    called: str = "",
    wordnet: bool = False,
) -> Source:
    """Read a folder for each class, in the order of their names (torchvision's ImageFolder).

    Args:
        name: of the data set.
        where: the folders and flags.
        known: the classes of the data set: those that are used if the folder has more of them and
            no `--class_list` is given.
        called: what `known` is, for the note.
        wordnet: whether class folders have the names of ImageNet's.

    Returns:
        The data set; images that lie in no class folder have no labels.
    """
    walk = Walk(where.suffixes)
    layout = find_layout(where, walk)
    only, note = read_class_list(where.class_list)
    if only is None and known and len(class_folders(layout.train, "--train_dir")) > len(known):
        only, note = known, called
    classes, train = class_folder(layout.train, "--train_dir", walk, only)
    if wordnet:
        note = "; ".join(filter(None, (note, check_wordnet(name, classes, layout))))
    if layout.val:
        val = read_val(layout, classes, train, walk, chosen=only is not None)
        how: dict[str, Any] = {"split": layout.describe()}
    else:
        train, val = split(train, HOLD_OUT)
        said = split_sentence(HOLD_OUT, labeled=bool(classes))
        how = {"held_out": HOLD_OUT, "split": f"no --val_dir: {said}"}
    return Source(name, classes, train, val, note, left_out=walk.describe(), **how)


def read_val(layout: Layout, classes: list[str], train: Images, walk: Walk, chosen: bool) -> Images:
    """The validation images, labeled as the training images are; some classes may have none.

    Args:
        layout: with the folders.
        classes: of the training part.
        train: its images.
        walk: through the folders.
        chosen: whether `classes` are a choice, so that images of others are not wanted.

    Raises:
        ValueError: it has other classes, or images of the training part.
    """
    flag = f"--val_dir {layout.val[0].name}"
    for place, other in ((t.resolve(), v.resolve()) for t in layout.train for v in layout.val):
        if other.is_relative_to(place) or place.is_relative_to(other):
            raise ValueError(f"{flag}: {other} and the training images overlap")
    there = class_folders(layout.val, "--val_dir")
    names = [c for c in there if c in {*classes}] if chosen else there
    other = sorted(set(names) - set(classes))
    if other or bool(names) != bool(classes):
        raise ValueError(
            f"{flag}: its classes differ from the training part's in "
            f"{len(other) or 'all'}: {', '.join(other[:NAMED]) or 'it has no class folders'}"
        )
    names, val = class_folder(layout.val, "--val_dir", walk, names or None, may_lack=True)
    if walk.linked and (both := real_paths(train) & real_paths(val)):
        raise ValueError(f"{flag}: {len(both)} of its images are training images too: {min(both)}")
    place = np.array([classes.index(c) for c in names] or [-1])
    return replace(val, labels=place[val.labels])


def real_paths(images: Images) -> set[str]:
    """Where files lie, without links."""
    assert isinstance(images.files, Paths)
    return set(map(os.path.realpath, images.files.paths.words()))


def check_wordnet(name: str, classes: Sequence[str], layout: Layout) -> str:
    """A note if classes are not called as ImageNet's are.

    Raises:
        ValueError: and no flag said that these are the folders.
    """
    other = [c for c in classes if not WORDNET.fullmatch(c)]
    if not other:
        return ""
    said = f"{len(other)} of {len(classes)} class folders are not called as ImageNet's, n01440764"
    said += f" for one ({', '.join(other[:NAMED])})"
    if layout.given:
        return said
    raise ValueError(f"DATASET {name}: {said}; give --train_dir and --val_dir, or DATASET folder")


def read_class_list(class_list: str | None) -> tuple[Sequence[str] | None, str]:
    """The classes that a file lists, None without a file; and a note on them."""
    if not class_list:
        return None, ""
    lines = Path(class_list).read_text(encoding="utf-8").splitlines()
    only = sorted({line.strip() for line in lines if line.strip()})
    if not only:
        raise ValueError(f"--class_list {class_list}: no class in it")
    return only, f"{len(only)} classes of {class_list}"


def class_folders(places: Sequence[Path], flag: str) -> list[str]:
    """The names of the folders in the folders of a part.

    Raises:
        ValueError: there is no such folder.
    """
    for place in places:
        if not place.is_dir():
            raise ValueError(f"{flag} {place}: no such folder")
    return sorted({folder.name for place in places for folder in visible_folders(place)})


def class_folder(
    places: Sequence[Path],
    flag: str,
    walk: Walk,
    only: Sequence[str] | None = None,
    may_lack: bool = False,
) -> tuple[list[str], Images]:
    """Class names, and the images of one part; of a folder of images, no names and no labels.

    Args:
        places: the folders of the part, each with a folder for each class.
        flag: the flag that named them, for errors.
        walk: through the folders.
        only: the classes to use, of all that are there.
        may_lack: whether a class may have no images.

    Raises:
        ValueError: there are no images, or none of a class.
    """
    classes, place = class_folders(places, flag), ", ".join(map(str, places))
    root = os.path.commonpath(places)
    known = f"images end in {' '.join(walk.suffixes)}"
    if not classes and only is None:
        files = PathArray.below(root, (f for folder in places for f in walk.images(folder)))
        if len(files):
            return [], in_files(files)
        raise ValueError(f"{flag} {place}: no class folders in it, and no images; {known}")
    if only is not None:
        if absent := sorted({*only} - {*classes}):
            raise ValueError(
                f"{flag} {place}: {len(absent)} of the {len(only)} wanted classes are not there "
                f"({', '.join(absent[:NAMED])})"
            )
        classes = list(only)
    counts = [0] * len(classes)
    files = PathArray.below(root, files_of_classes(places, classes, walk, counts))
    empty = [c for c, number in zip(classes, counts, strict=True) if not number]
    if empty and not may_lack:
        left = f"; {walk.describe()}" if walk.left_out else ""
        raise ValueError(
            f"{flag} {place}: {len(empty)} classes without images "
            f"({', '.join(empty[:NAMED])}); {known}{left}"
        )
    for folder in places:
        walk.count_strays(folder)
    return classes, in_files(files, np.repeat(np.arange(len(classes)), counts))


def files_of_classes(
    places: Sequence[Path], classes: Sequence[str], walk: Walk, counts: list[int]
) -> Iterator[str]:
    """The paths of all images, class by class.

    Args:
        places: the folders of a part.
        classes: the folders in these.
        walk: through them.
        counts: how many images each class has, which is added to.
    """
    for label, c in enumerate(classes):
        for folder in (place / c for place in places if (place / c).is_dir()):
            for file in walk.images(folder):
                counts[label] += 1
                yield file
