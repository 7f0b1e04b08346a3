"""Tar shards in WebDataset's layout: KEY.jpg beside KEY.cls or KEY.json, read by their offsets.

The shards are those of a name, of a pattern with `{000..009}`, `{a,b}`, `*`, `?` or `[...]`, or of
a .txt with one of these a line, which starts at its folder. Gzipped ones are unpacked into the
user's cache. A label is a whole number or a word: in KEY.cls, under "label" in KEY.json, or in
what `--label_column` names, a suffix (txt) or a key of KEY.json; `--image_column` is the suffix of
the images where a sample has several. Images without labels have none, all of them. No member is
unpacked, so that its name leads nowhere.
"""

import json
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cl.data.sets._images import Images, Index, Stored
from cl.data.sets._labels import Column, check_trained, class_numbers, number_in
from cl.data.sets._paths import PathArray
from cl.data.sets._shards import shards_of
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._unpacked import BLOCK, cache, uncompressed
from cl.data.sets._walk import Walk, is_hidden, is_image

ROW = {
    "help": "tar shards: train-{000..009}.tar, 'train-*.tar', a list; --val_dir likewise",
    "order": 92,
    "argument": "PATTERN",
    "val_dir": True,
    "image_files": True,
    "exif_orientation": True,
    "image_columns": True,
}
LONGEST = 200  # letters of a word that is a label


@dataclass(frozen=True, eq=False)
class Members(Stored):
    """Members of tar files.

    Args:
        shards: the files.
        opened: the files that are read, copies of those that are gzipped.
        place: of each image its shard, offset and size, `(n 3)`.
        names: of each image.
    """

    shards: list[Path]
    opened: list[Path]
    place: Index
    names: PathArray

    def __len__(self) -> int:
        return len(self.names)

    def read(self, at: int) -> bytes:
        return self.beginning(at, self.size(at))

    def beginning(self, at: int, number: int) -> bytes:
        shard, offset, size = self.place[at].tolist()
        with self.opened[shard].open("rb") as file:
            file.seek(offset)
            return file.read(min(size, number))

    def name(self, at: int) -> str:
        return f"{self.shards[self.place[at, 0]]}: {self.names.word(at)}"

    def cache_key(self, at: int) -> str:
        stat = self.shards[self.place[at, 0]].stat()
        return f"{self.name(at)} {self.place[at].tolist()} {stat.st_size} {stat.st_mtime_ns}"

    def identity(self, at: int) -> str:
        shard, _, size = self.place[at].tolist()
        return f"{self.shards[shard].name} {self.names.word(at)} {size}"

    def size(self, at: int) -> int:
        return int(self.place[at, 2])

    def subset(self, index: Index) -> "Members":
        return Members(self.shards, self.opened, self.place[index], self.names.subset(index))


@dataclass(frozen=True)
class Keys:
    """What is taken of a sample.

    Args:
        image: the suffix of its image; None where it has one.
        label: the suffix of its label, or the key in its .json; None for .cls and "label".
    """

    image: str | None
    label: str | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The suffixes of members that may hold the label."""
        return (self.label or "cls", "json")

    @property
    def json(self) -> str:
        """The key of the label in a .json."""
        return "label" if self.label in (None, "json") else self.label

    def absent(self) -> str:
        """What an image without a label lacks."""
        return f'neither a .{self.labels[0]} nor a .json with "{self.json}"'


def read(name: str, where: Where) -> Source:
    """The shards of a pattern, and those of `--val_dir` for validation.

    Raises:
        ValueError: a shard is not there or wrong, or is in both parts.
    """
    walk, keys = Walk(where.suffixes), Keys(where.image_column, where.label_column)
    flags = {f"DATASET {name}": name.partition(":")[2]}
    if where.val_dir is not None:
        flags[f"--val_dir {where.val_dir}"] = where.val_dir
    shards = [shards_of(where.folder, pattern, flag) for flag, pattern in flags.items()]
    both = {*map(Path.resolve, shards[0])} & {*map(Path.resolve, shards[-1])}
    if len(shards) > 1 and both:
        raise ValueError(f"--val_dir {where.val_dir}: {min(both)} is a training shard, too")
    parts = [of_shards(*each, walk, keys) for each in zip(shards, flags, strict=True)]
    found, numbers, named = classes_of([labels for _, labels in parts])
    train, *val = (Images(labels.become(numbers), files=files) for files, labels in parts)
    if len(found) > len(train) and not named:
        raise ValueError(f"DATASET {name}: a label of {len(found) - 1} among {len(train)} images")
    more: dict[str, Any] = {
        "named": named,
        "note": note_of_gzipped(parts),
        "left_out": walk.describe(),
    }
    classes = [str(c) for c in found]
    if val:
        check_trained(name, classes, train.labels, val[0].labels)
        return Source(name, classes, train, val[0], **more)
    said = split_sentence(HOLD_OUT, labeled=bool(classes))
    how = f"no --val_dir: {said}"
    return Source(name, classes, *split(train, HOLD_OUT), held_out=HOLD_OUT, split=how, **more)


def classes_of(parts: Sequence[Column]) -> tuple[Sequence[Any], dict[str, int], bool]:
    """The classes of the labels of some parts, the number of each label, and whether it is a name.

    Whole numbers are those of the classes; numbers beside words are words.
    """
    words = [word for labels in parts for word in labels.words]
    found = {word: number_in(word or "-1") for word in words}
    numbers = {word: max(-1, number) for word, number in found.items() if number is not None}
    if len(numbers) < len(found):
        return *class_numbers(words), True
    return range(1 + max(numbers.values())), numbers, False


def note_of_gzipped(parts: Sequence[tuple[Members, Column]]) -> str:
    """What is said of gzipped shards; empty where there are none."""
    number = sum(
        s != o for files, _ in parts for s, o in zip(files.shards, files.opened, strict=True)
    )
    return f"{number} gzipped shards are unpacked in {cache()}" if number else ""


def of_shards(shards: Sequence[Path], flag: str, walk: Walk, keys: Keys) -> tuple[Members, Column]:
    """All images of some shards, in the order of their members, and their labels or "".

    Raises:
        ValueError: a shard is damaged, there are no images, or some of them alone have labels.
    """
    opened, place, rows, words = (
        [*map(uncompressed, shards)],
        array("q"),
        array("q"),
        dict[str, int](),
    )

    def found() -> Iterator[str]:
        for number, (shard, file) in enumerate(zip(shards, opened, strict=True)):
            for member, label in of_shard(shard, file, walk, keys):
                place.extend((number, member.offset_data, member.size))
                rows.append(words.setdefault(label, len(words)))
                yield member.name

    names, labels = PathArray.of(found()), Column([*words], np.frombuffer(rows, np.int64))
    if not len(names):
        raise ValueError(f"{flag}: no images in {len(shards)} shards")
    files = Members([*shards], opened, np.frombuffer(place, np.int64).reshape(-1, 3), names)
    if "" in words and len(words) > 1:
        without = np.flatnonzero(labels.rows == words[""])
        raise ValueError(
            f"{flag}: {len(without):,} of {len(names):,} images have {keys.absent()}, "
            f"{files.name(int(without[0]))} for one"
        )
    return files, labels


def of_shard(
    shard: Path, file: Path, walk: Walk, keys: Keys
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The images of a shard with the labels they have; other members are counted in `walk`.

    Args:
        shard: its name.
        file: the uncompressed file.
        walk: knows which files are images.
        keys: what is taken of a sample.

    Raises:
        ValueError: it is damaged or cut, a label is none, or a sample has several images.
    """
    images: dict[str, dict[str, tarfile.TarInfo]] = {}
    labels: dict[tuple[str, str], str] = {}
    try:
        with tarfile.open(file, "r:") as tar, file.open("rb") as content:
            for member in visible_members(tar, shard, file.stat().st_size, walk):
                folder, slash, last = member.name.rpartition("/")
                stem, _, suffix = last.partition(".")
                key, kind = f"{folder}{slash}{stem}", suffix.lower()
                if is_image(last, walk.suffixes) and keys.image in (None, kind):
                    if kind in images.setdefault(key, {}):
                        raise ValueError(f"{shard}: {member.name} is there twice")
                    images[key][kind] = member
                elif kind in keys.labels:
                    # Through `tar.extractfile` the index takes half as long again.
                    content.seek(member.offset_data)
                    name = f"{shard}: {member.name}"
                    labels[key, kind] = label_in(content.read(member.size), kind, keys, name)
                else:
                    walk.left_out[f".{kind}" if kind else "without a suffix"] += 1
            check_end(content, tar.offset)
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is no whole tar file: {error}") from None
    for key, members in images.items():
        if len(members) > 1:
            raise ValueError(
                f"{shard}: {key} has the images {', '.join(members)}; --image_column chooses one"
            )
        found = [label for kind in keys.labels if (label := labels.get((key, kind)))]
        yield next(iter(members.values())), found[0] if found else ""


def visible_members(
    tar: tarfile.TarFile, shard: Path, size: int, walk: Walk
) -> Iterator[tarfile.TarInfo]:
    """The files in a tar of so many bytes; hidden ones are counted.

    Raises:
        ValueError: a member is a link, or is not stored whole.
    """
    for member in tar:
        if member.islnk() or member.issym():
            raise ValueError(f"{shard}: {member.name} is a link to {member.linkname}")
        if member.issparse() or member.offset_data + member.size > size:
            raise ValueError(f"{shard}: {member.name} is not stored whole, but cut or sparse")
        if member.isreg() and any(map(is_hidden, member.name.split("/"))):
            walk.left_out["hidden"] += 1
        elif member.isreg():
            yield member


def check_end(content: BinaryIO, end: int) -> None:
    """Check that a tar ends where its reading did: tarfile takes a damaged header for the end.

    Args:
        content: the file.
        end: the place behind its last member.

    Raises:
        tarfile.ReadError: no end mark is there, or something follows it.
    """
    content.seek(end)
    mark = content.read(tarfile.BLOCKSIZE)
    if not mark:
        raise tarfile.ReadError("it is cut behind a member, for its end mark is missing")
    if mark != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"the header at byte {end:,} is damaged or cut")
    for block in iter(partial(content.read, BLOCK), b""):
        if block.count(0) < len(block):
            raise tarfile.ReadError(
                "something follows its end mark; archives are joined by tar --concatenate, not by "
                "cat, or named one by one"
            )


def label_in(content: bytes, kind: str, keys: Keys, name: str) -> str:
    """The label in a member of that suffix; empty for a .json that lacks it.

    Raises:
        ValueError: it holds no label.
    """
    try:
        if kind == "json":
            found = json.loads(content)
            if isinstance(found, dict) and keys.json not in found:
                return ""
            label = found[keys.json]
        else:
            label = content.decode().strip()
        number = number_in(label) if isinstance(label, str) else label
        if type(number) is int:
            if abs(number) >= 2**31:
                raise TypeError("it is no whole number of 32 bits")
            return str(number)
        if not isinstance(label, str) or not 0 < len(label) <= LONGEST or "\n" in label:
            raise TypeError(f"it is no whole number and no word of up to {LONGEST} letters")
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} holds no label: {error}") from None
    return label
