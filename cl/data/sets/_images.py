"""Images, with labels or without: pixels in memory or mapped, or encoded and decoded on demand."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from cl.data.sets._decode import UnreadableError, decode
from cl.data.sets._paths import Index, PathArray
from cl.data.sets._values import RGB, Decoding, Pixels

PIECE = 256  # images in memory or mapped that are read at a time


class Stored(ABC):
    """Encoded images on disk; worker processes get a copy of this object, not of the images."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, at: int) -> bytes:
        """The bytes of an image file."""

    @abstractmethod
    def name(self, at: int) -> str:
        """The name of an image in messages."""

    @abstractmethod
    def cache_key(self, at: int) -> str:
        """Location and state (size, time of change): another text if the image may be another."""

    @abstractmethod
    def identity(self, at: int) -> str:
        """Location-independent identity: relative path and size in bytes."""

    def size(self, at: int) -> int | None:
        """The bytes of an image file, None where they are not known before it is read."""
        return None

    def beginning(self, at: int, number: int) -> bytes:
        """The first bytes of an image file."""
        return self.read(at)[:number]

    @abstractmethod
    def subset(self, index: Index) -> "Stored":
        """The images of these places, in that order."""

    def pixels(self, at: int, how: Decoding = RGB) -> Pixels:
        """An image decoded, `(h w 3)` or with the channels that are asked for.

        Raises:
            UnreadableError: it cannot be decoded.
        """
        try:
            content = self.read(at)
        except OSError as error:
            raise UnreadableError.of(self.name(at), error) from None
        return decode(content, self.name(at), how)


def read_regular(path: Path | str, number: int = -1) -> bytes:
    """The bytes of a file, or the first ones; a pipe, socket or device is not waited for.

    Raises:
        OSError: it is none of these, or cannot be read.
    """
    with open(path, "rb", opener=open_at_once) as file:  # a Path takes no opener
        return file.read(number)


def open_at_once(path: str, flags: int) -> int:
    """Open a regular file; see `opener` of Python's `open`."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError("it is a pipe, a device or a folder, and no file")


def size_and_time(path: str) -> tuple[int, int]:
    """A file's bytes and the time of its last change in ns; -1 of a link that leads nowhere."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:  # it is named when it is read
        return -1, -1
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Paths(Stored):
    """Image files, see `in_files`."""

    paths: PathArray

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, at: int) -> bytes:
        return read_regular(self.paths.word(at))

    def beginning(self, at: int, number: int) -> bytes:
        return read_regular(self.paths.word(at), number)

    def name(self, at: int) -> str:
        return self.paths.word(at)

    def cache_key(self, at: int) -> str:
        path = self.paths.word(at)
        size, time = size_and_time(path)
        return f"{path} {size} {time}"

    def identity(self, at: int) -> str:
        folder, name = os.path.split(path := self.paths.word(at))  # ten times faster
        return f"{os.path.basename(folder)}/{name} {size_and_time(path)[0]}"  # noqa: PTH119

    def size(self, at: int) -> int | None:
        path = self.paths[at]
        return path.stat().st_size if path.is_file() else None

    def subset(self, index: Index) -> "Paths":
        return Paths(self.paths.subset(index))


@dataclass(frozen=True, eq=False)
class Images:
    """Images, in memory or in files.

    Args:
        labels: `(n)`, below 0 for an image without one, and for all where one has several.
        pixels: `(n h w 3)`, if the images are in memory; with `rows` any number of images.
        files: the encoded images, if they are not.
        decoding: how these become pixels.
        multilabels: `(n c)`, 1 for each class that an image is of, where one may be of several.
        rows: which of `pixels` the images are, `(n)`, where these are mapped from a file: so parts
            of them stay on the disk, too. None for all of them in their order.
        of_arrays: whether a data set of arrays or tensors gives them, which no camera has turned.
    """

    kind: ClassVar = "images"  # as the row of a data set says it

    labels: Index
    pixels: Pixels | None = None
    files: Stored | None = None
    decoding: Decoding = RGB
    multilabels: npt.NDArray[np.uint8] | None = None
    rows: Index | None = None
    of_arrays: bool = False

    def __post_init__(self) -> None:
        """Check what users' own data sets give.

        Raises:
            ValueError: labels are no whole numbers, pixels not uint8 `(n h w c)`, or their numbers
                differ.
        """
        labels, pixels = np.asarray(self.labels), self.pixels
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"labels are {labels.dtype} of shape {labels.shape}; Images takes whole numbers "
                "(n), as of labels.astype('int64')"
            )
        if pixels is not None and (pixels.ndim != 4 or pixels.dtype != np.uint8):
            raise ValueError(
                f"pixels are {pixels.dtype} of shape {pixels.shape}; Images takes uint8 (n h w c), "
                "and from_dataset(pixels, labels=labels) floats in 0 to 1 and gray images, too"
            )
        numbers = {"pixels": self.rows if self.rows is not None else pixels}
        numbers |= {"files": self.files, "multilabels": self.multilabels}
        for name, each in numbers.items():
            if each is not None and len(each) != len(labels):
                raise ValueError(f"{len(labels):,} labels, but {len(each):,} {name}")
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """How many channels each image has."""
        return self.pixels.shape[3] if self.pixels is not None else self.decoding.channels or 3

    def describe_decoding(self) -> str:
        """What is not usual of how they become pixels, in words; an array says no orientation."""
        return replace(
            self.decoding, exif_orientation=self.decoding.exif_orientation and not self.of_arrays
        ).describe()

    def pixel(self, index: int) -> Pixels:
        """One image, `(h w 3)`.

        Raises:
            UnreadableError: it cannot be decoded.
        """
        if self.pixels is not None:
            if self.rows is None:
                return self.pixels[index]
            return np.array(self.pixels[self.rows[index]])  # writable, as kernels are compiled for
        assert self.files is not None
        return self.files.pixels(index, self.decoding)

    def stacks(self) -> Iterator[Pixels]:
        """The pixels of all images in memory or mapped, `PIECE` at a time, `(n h w 3)`."""
        pixels, rows = self.pixels, self.rows
        assert pixels is not None
        for start in range(0, len(self), PIECE):
            piece = slice(start, start + PIECE)
            yield pixels[piece if rows is None else rows[piece]]

    def subset(self, index: Index) -> "Images":
        """The images of these places, in that order; what is mapped stays mapped."""
        pixels = self.pixels
        if pixels is not None and self.rows is None:
            pixels = pixels[index]
        return replace(
            self,
            labels=self.labels[index],
            pixels=pixels,
            rows=None if self.rows is None else self.rows[index],
            files=None if self.files is None else self.files.subset(index),
            multilabels=None if self.multilabels is None else self.multilabels[index],
        )

    def with_labels(self) -> "Images":
        """The images that have a label; the same object if all have one."""
        known = self.labels >= 0
        if known.all() or self.multilabels is not None:
            return self
        return self.subset(np.flatnonzero(known))


def in_files(paths: Iterable[Path] | PathArray, labels: npt.ArrayLike | None = None) -> Images:
    """Images of a file each; without labels these are -1."""
    held = paths if isinstance(paths, PathArray) else PathArray.of(map(os.fspath, paths))
    known = np.full(len(held), -1) if labels is None else np.array(labels, np.int64)
    return Images(known, files=Paths(held))
