"""Images with labels: pixels in memory, or encoded somewhere and decoded when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cl.data.sets._decode import Pixels, UnreadableError, decode

Index = npt.NDArray[np.int64]


class Stored(ABC):
    """Encoded images that lie somewhere; worker processes get a copy of this, not of the images."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, at: int) -> bytes:
        """One of them, as an image file."""

    @abstractmethod
    def name(self, at: int) -> str:
        """How messages call it."""

    @abstractmethod
    def key(self, at: int) -> str:
        """Where it is and in which state: another text for another image."""

    @abstractmethod
    def mark(self, at: int) -> str:
        """What it is wherever the data set lies: its name inside of it, and its bytes' number."""

    @abstractmethod
    def subset(self, index: Index) -> "Stored":
        """Some of them, in that order."""

    def pixels(self, at: int) -> Pixels:
        """One of them decoded, `(h w 3)`.

        Raises:
            UnreadableError: it cannot be.
        """
        try:
            content = self.read(at)
        except OSError as error:
            raise UnreadableError.of(self.name(at), error) from None
        return decode(content, self.name(at))


@dataclass(frozen=True, eq=False)
class Paths(Stored):
    """A file each."""

    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, at: int) -> bytes:
        return self.paths[at].read_bytes()

    def name(self, at: int) -> str:
        return str(self.paths[at])

    def key(self, at: int) -> str:
        stat = self.paths[at].stat()
        return f"{self.paths[at]} {stat.st_size} {stat.st_mtime_ns}"

    def mark(self, at: int) -> str:
        path = self.paths[at]
        return f"{path.parent.name}/{path.name} {path.stat().st_size}"

    def subset(self, index: Index) -> "Paths":
        return Paths([self.paths[i] for i in index])


@dataclass(frozen=True, eq=False)
class Images:
    """Images with labels: their pixels, or where they lie.

    Args:
        labels: below 0 where there is none.
        pixels: `(n h w 3)`, if they are in memory.
        files: if they are not.
    """

    labels: Index
    pixels: Pixels | None = None
    files: Stored | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pixel(self, index: int) -> Pixels:
        """One image, `(h w 3)`.

        Raises:
            UnreadableError: it cannot be decoded.
        """
        if self.pixels is not None:
            return self.pixels[index]
        assert self.files is not None
        return self.files.pixels(index)

    def subset(self, index: Index) -> "Images":
        """Some of them, in that order."""
        return Images(
            self.labels[index],
            None if self.pixels is None else self.pixels[index],
            None if self.files is None else self.files.subset(index),
        )


def in_files(paths: Sequence[Path], labels: Sequence[int] | None = None) -> Images:
    """Images of a file each; without labels these are -1."""
    known = np.full(len(paths), -1) if labels is None else np.array(labels, np.int64)
    return Images(known, files=Paths(list(paths)))
