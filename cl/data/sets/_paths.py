"""Paths of files by the million: in two buffers, where as many objects of Python take ten times."""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PathArray:
    """Paths, of which each takes the bytes of its name below a folder, and nine more.

    Worker processes that are forked share the buffers: no reference count lies between the names.

    Args:
        root: the folder at which relative names start.
        names: each with a zero behind it, as the file system has it.
        starts: of each path the place of its name, `(n)`.
    """

    root: str
    names: bytearray
    starts: Index

    @classmethod
    def of(cls, names: Iterable[str], root: str = "") -> "PathArray":
        """The paths of names as `str(Path)` has them, which start at a folder or are absolute.

        >>> [*PathArray.of(["a.png", "/b.png"], "data").words()]
        ['data/a.png', '/b.png']
        """
        buffer, starts = bytearray(), array("q")
        for name in names:
            starts.append(len(buffer))
            buffer += os.fsencode(name)
            buffer.append(0)
        return cls("" if root == "." else root, buffer, np.frombuffer(starts, np.int64))

    @classmethod
    def below(cls, root: str, words: Iterable[str]) -> "PathArray":
        """Paths that begin with that of a folder, as a walk through it gives them."""
        start = os.path.join(root, "")  # noqa: PTH118  # a Path costs a microsecond each
        return cls.of((word.removeprefix(start) for word in words), root)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, at: int) -> Path:
        return Path(self.word(at))

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.words())

    def word(self, at: int) -> str:
        """A path as `open` takes it."""
        start = int(self.starts[at])
        name = self.names[start : self.names.index(0, start)]
        return os.path.join(self.root, os.fsdecode(bytes(name)))  # noqa: PTH118

    def words(self) -> Iterator[str]:
        """All paths as `open` takes them."""
        return map(self.word, range(len(self)))

    def subset(self, index: Index) -> "PathArray":
        """The paths of these places, in that order; the names are shared."""
        return PathArray(self.root, self.names, self.starts[index])


def followed(words: Iterable[str]) -> Iterator[str]:
    """The paths of files from the root, where the links in them lead; each folder is asked once."""
    folders: dict[str, str] = {}
    for word in words:
        folder, name = os.path.split(word)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        path = os.path.join(folders[folder], name)  # noqa: PTH118
        yield os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114


def repeated(paths: PathArray) -> list[str]:
    """The files that are there more than once, also in other words (a/../b.png) or by links."""
    sums = np.fromiter(map(hash, followed(paths.words())), np.int64, len(paths))
    _, place, counts = np.unique(sums, return_inverse=True, return_counts=True)
    words = [paths.word(at) for at in np.flatnonzero(counts[place] > 1).tolist()]
    found = [*followed(words)]
    first = dict(zip(reversed(found), reversed(words), strict=True))
    return [first[path] for path, number in Counter(found).items() if number > 1]
