"""Tar shards in WebDataset's layout: KEY.jpg beside KEY.cls or KEY.json, read by their offsets.

Images without labels have neither, none of them. Nothing is unpacked, so that a member's name leads
nowhere.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl.data.sets._images import Images, Index, Stored
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._walk import Walk, is_hidden, is_image

ROW = {
    "help": "tar shards, as in train-{000..009}.tar; --val_dir is a pattern, too",
    "order": 92,
    "argument": "PATTERN",
    "val_dir": True,
    "image_files": True,
    "exif_orientation": True,
}
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABELS = ("cls", "json")


@dataclass(frozen=True, eq=False)
class Members(Stored):
    """Members of tar files.

    Args:
        shards: the files.
        place: of each image its shard, offset and size, `(n 3)`.
        names: of each image.
    """

    shards: list[Path]
    place: Index
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, at: int) -> bytes:
        shard, offset, size = self.place[at].tolist()
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def name(self, at: int) -> str:
        return f"{self.shards[self.place[at, 0]]}: {self.names[at]}"

    def cache_key(self, at: int) -> str:
        stat = self.shards[self.place[at, 0]].stat()
        return f"{self.name(at)} {self.place[at].tolist()} {stat.st_size} {stat.st_mtime_ns}"

    def identity(self, at: int) -> str:
        shard, _, size = self.place[at].tolist()
        return f"{self.shards[shard].name} {self.names[at]} {size}"

    def size(self, at: int) -> int:
        return int(self.place[at, 2])

    def subset(self, index: Index) -> "Members":
        return Members(self.shards, self.place[index], [self.names[i] for i in index])


def read(name: str, where: Where) -> Source:
    """The shards of a pattern, and those of `--val_dir` for validation."""
    pattern, walk = name.partition(":")[2], Walk(where.suffixes)
    train = of_pattern(where.folder, pattern, f"DATASET {name}", walk)
    held_out, how = 0.0, ""
    if where.val_dir is None:
        said = split_sentence(HOLD_OUT, labeled=bool((train.labels >= 0).any()))
        train, val = split(train, HOLD_OUT)
        held_out, how = HOLD_OUT, f"no --val_dir: {said}"
    else:
        both = shards_of(where.folder, pattern) & shards_of(where.folder, where.val_dir)
        if both:
            raise ValueError(f"--val_dir {where.val_dir}: {min(both)} is a training shard, too")
        val = of_pattern(where.folder, where.val_dir, f"--val_dir {where.val_dir}", walk)
    classes = 1 + max(int(images.labels.max(initial=-1)) for images in (train, val))
    if classes > len(train):
        raise ValueError(f"DATASET {name}: a label of {classes - 1} among {len(train)} images")
    names = [str(c) for c in range(classes)]
    left = walk.describe()
    more = {"held_out": held_out, "split": how, "left_out": left}
    return Source(name, names, train, val, named=False, **more)


def expanded(pattern: str) -> Iterator[str]:
    """The words of a pattern.

    >>> list(expanded("{a,b}-{08..10}.tar"))
    ['{a,b}-08.tar', '{a,b}-09.tar', '{a,b}-10.tar']
    """
    found = RANGE.search(pattern)
    if not found:
        yield pattern
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        middle = f"{number:0{len(first)}}"
        yield from expanded(f"{pattern[: found.start()]}{middle}{pattern[found.end() :]}")


def shards_of(folder: Path, pattern: str) -> set[Path]:
    """Where the shards of a pattern lie, without links."""
    return {(folder / word).resolve() for word in expanded(pattern)}


def of_pattern(folder: Path, pattern: str, flag: str, walk: Walk) -> Images:
    """All images of some shards, in the order of their members.

    Raises:
        ValueError: a shard is missing, compressed or damaged, or some images alone have labels.
    """
    shards, place, names, labels = [], [], [], list[int | None]()
    for number, word in enumerate(expanded(pattern)):
        shards.append(folder / word)
        if not shards[-1].is_file():
            raise ValueError(f"{flag}: no shard {shards[-1]}")
        for member, label in of_shard(shards[-1], walk):
            place.append((number, member.offset_data, member.size))
            names.append(member.name)
            labels.append(label)
    if not names:
        raise ValueError(f"{flag}: no images in {len(shards)} shards")
    files = Members(shards, np.array(place, np.int64), names)
    if None not in labels:
        return Images(np.array(labels, np.int64), files=files)
    if any(label is not None for label in labels):
        first = files.name(labels.index(None))
        raise ValueError(
            f"{flag}: {labels.count(None):,} of {len(names):,} images have neither a .cls nor a "
            f'.json with "label", {first} for one'
        )
    return Images(np.full(len(names), -1), files=files)


def of_shard(shard: Path, walk: Walk) -> Iterator[tuple[tarfile.TarInfo, int | None]]:
    """The images of a shard with the labels they have; other members are counted in `walk`."""
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[tuple[str, str], int | None] = {}
    try:
        with tarfile.open(shard, "r:") as tar, shard.open("rb") as file:
            for member in visible_members(tar, shard.stat().st_size, walk):
                folder, slash, last = member.name.rpartition("/")
                stem, _, suffix = last.partition(".")
                key, kind = f"{folder}{slash}{stem}", suffix.lower()
                if is_image(last, walk.suffixes):
                    if key in images:
                        raise ValueError(f"{shard}: {key} has two images, {suffix} and another")
                    images[key] = member
                elif kind in LABELS:
                    # Through `tar.extractfile` the index takes half as long again.
                    file.seek(member.offset_data)
                    content, name = file.read(member.size), f"{shard}: {member.name}"
                    labels[key, kind] = label_in(content, kind, name)
                else:
                    walk.left_out[f".{kind}" if kind else "without a suffix"] += 1
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is no whole uncompressed tar file: {error}") from None
    for key, member in images.items():
        found = [label for kind in LABELS if (label := labels.get((key, kind))) is not None]
        yield member, found[0] if found else None


def visible_members(tar: tarfile.TarFile, size: int, walk: Walk) -> Iterator[tarfile.TarInfo]:
    """The files in a tar of so many bytes; hidden ones are counted.

    Raises:
        ValueError: a member is a link, or is not stored whole.
    """
    for member in tar:
        if member.islnk() or member.issym():
            raise ValueError(f"{tar.name}: {member.name} is a link to {member.linkname}")
        if member.issparse() or member.offset_data + member.size > size:
            raise ValueError(f"{tar.name}: {member.name} is not stored whole, but cut or sparse")
        if member.isreg() and any(map(is_hidden, member.name.split("/"))):
            walk.left_out["hidden"] += 1
        elif member.isreg():
            yield member


def label_in(content: bytes, kind: str, name: str) -> int | None:
    """The label in the text of a .cls, or under "label" in that of a .json, which may lack it."""
    try:
        found = json.loads(content)
        if kind == "json" and isinstance(found, dict) and "label" not in found:
            return None
        label = found["label"] if kind == "json" else found
        if type(label) is not int or abs(label) >= 2**31:
            raise TypeError("it is no whole number of 32 bits")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} holds no label: {error}") from None
    return label
