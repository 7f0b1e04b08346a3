"""Validation images that are training images, byte for byte."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from cl.data.sets._images import Images

MOST = 100_000  # images of both parts, of more none are compared
BEGINNING = 2**12  # bytes, by which files of one size are compared first
READ = 10**9  # bytes of whole files that are read at most


def copies(train: Images, val: Images) -> tuple[list[int], int]:
    """The validation images whose files are also training images' files.

    Files are read as far as something before leaves it open: their sizes, then their beginnings.

    Returns:
        Their places, and how many others were not compared since too much would have to be read.
    """
    if train.files is None or val.files is None or len(train) + len(val) > MOST:
        return [], 0
    parts, found, left, rest = (train.files, val.files), list[int](), 0, READ
    sizes = shared([(at, files.size(at)) for at in range(len(files))] for files in parts)
    sizes.pop(None, None)
    begin = shared(
        [
            (at, (size, summed(files.beginning(at, BEGINNING))))
            for size, places in sizes.items()
            for at in places[part]
        ]
        for part, files in enumerate(parts)
    )
    for (size, _), places in sorted(begin.items(), key=lambda group: total_bytes(*group)):
        if size <= BEGINNING:
            found += places[1]
        elif (number := total_bytes((size, ""), places)) > rest:
            left += len(places[1])
        else:
            rest -= number
            whole = shared(
                [(at, summed(files.read(at))) for at in of_part]
                for files, of_part in zip(parts, places, strict=True)
            )
            found += [at for _, of_val in whole.values() for at in of_val]
    return sorted(found), left


def shared(parts: Iterable[Iterable[tuple[int, Any]]]) -> dict[Any, list[list[int]]]:
    """Of each key that is in both parts the places in each.

    >>> shared([[(0, "a"), (1, "b")], [(0, "b"), (1, "b"), (2, "c")]])
    {'b': [[1], [0, 1]]}
    """
    found: dict[Any, list[list[int]]] = {}
    for part, pairs in enumerate(parts):
        for at, key in pairs:
            found.setdefault(key, [[], []])[part].append(at)
    return {key: places for key, places in found.items() if all(places)}


def total_bytes(key: tuple[int, str], places: Sequence[Sequence[int]]) -> int:
    """The bytes of files of one size."""
    return key[0] * sum(map(len, places))


def summed(content: bytes) -> str:
    """The sum of a content."""
    return hashlib.sha256(content).hexdigest()
