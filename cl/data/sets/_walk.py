"""Which files of a folder are images; whatever is none is counted, so that it can be said."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cl.data.sets._decode import SUFFIXES

# What file managers and archives leave behind, besides names that start with a dot.
LEFTOVERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"}
# train, Training, training_set, train.X1, val2017, validation-images, dev, test, ...
PART = re.compile(
    r"(train|val|dev|test)(ing|id|idation)?([ ._-]?(set|data|images?|split))?([ ._-]?x?\d*)",
    re.IGNORECASE,
)
VALIDATION = ("val", "test")  # what validates, the first of these that there is


def part_of_name(name: str) -> str | None:
    """The part of a data set that a name stands for: train, val, test, or None.

    >>> [part_of_name(n) for n in ("Train", "train.X2", "validation", "test_set", "trainstation")]
    ['train', 'train', 'val', 'test', None]
    >>> part_of_name("dev")
    'val'
    """
    found = PART.fullmatch(name)
    part = found[1].lower() if found else None
    return "val" if part == "dev" else part


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of a data set."""
    return (name.startswith(".") and name.strip(".") != "") or name in LEFTOVERS


def visible_folders(place: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return sorted(p for p in place.iterdir() if not is_hidden(p.name) and p.is_dir())


@dataclass
class Walk:
    """A walk through folders that follows links, and enters each folder once.

    Args:
        suffixes: of images, in small letters.
        left_out: files that are no images, by kind.
        linked: whether a link was met, so that one file may have several paths.
    """

    suffixes: tuple[str, ...] = SUFFIXES
    left_out: Counter[str] = field(default_factory=Counter)
    linked: bool = False

    def images(self, folder: Path) -> Iterator[str]:
        """The paths of all image files in a folder and in the folders in it, in their order."""
        self.linked |= folder.is_symlink()
        return self.visit(os.fspath(folder), set())

    def visit(self, folder: str, seen: set[str]) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        names, folders = list[str](), set[str]()
        with os.scandir(folder) as entries:
            for entry in entries:
                self.linked |= entry.is_symlink()
                if is_hidden(entry.name):
                    self.leave_out(entry)
                elif is_folder(entry):
                    folders.add(entry.name)
                elif is_image(entry.name, self.suffixes):
                    if entry.is_symlink() or entry.is_file():  # a link is judged when it is read
                        names.append(entry.name)
                    else:
                        self.left_out["pipes, sockets and devices"] += 1
                else:
                    self.left_out[Path(entry.name).suffix.lower() or "without a suffix"] += 1
        for name in sorted([*names, *folders]):
            path = os.path.join(folder, name)  # noqa: PTH118  # a Path costs ten times
            if name in folders:
                yield from self.visit(path, seen)
            else:
                yield path

    def leave_out(self, entry: "os.DirEntry[str]") -> None:
        """Count a hidden file, or those in a hidden folder."""
        if is_folder(entry):
            self.left_out[f"in {entry.name}"] += sum(len(files) for *_, files in os.walk(entry))
        else:
            self.left_out["hidden"] += 1

    def count_strays(self, folder: Path) -> None:
        """Count what lies beside class folders: images without a class, and hidden folders."""
        for entry in os.scandir(folder):
            if is_hidden(entry.name) and is_folder(entry):
                self.leave_out(entry)
            elif is_image(entry.name, self.suffixes) and not is_folder(entry):
                self.left_out["images beside the class folders"] += 1

    def describe(self) -> str:
        """What was left out, in one line; empty if nothing was."""
        kinds = (f"{number:,} {kind}" for kind, number in sorted(self.left_out.items()) if number)
        said = ", ".join(kinds)
        return f"left out: {said}" if said else ""


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or leads to one; a link to itself leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_image(name: str, suffixes: Iterable[str]) -> bool:
    """Whether a file's name is that of an image."""
    return os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122  # a Path costs ten times


def holds_images(folder: Path, suffixes: Iterable[str], below: bool = True) -> bool:
    """Whether there is an image in a folder, or, `below`, in the folders in it."""
    seen = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a loop of links
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if below and not is_hidden(name)]
        if any(is_image(name, suffixes) and not is_hidden(name) for name in files):
            return True
    return False
