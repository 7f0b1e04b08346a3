"""The shards that a pattern or a list names."""

import re
from collections.abc import Iterator
from pathlib import Path

from cl.data.sets._table import lines_in
from cl.data.sets._without_labels import files_matching, is_pattern

BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")  # {000..009}, {a,b}
LIST = ".txt"  # of shards


def expanded(pattern: str) -> Iterator[str]:
    """The words of a pattern.

    >>> list(expanded("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    found = BRACES.search(pattern)
    if not found:
        yield pattern
        return
    first, last, choice = found.groups()
    words = choice.split(",") if choice else numbers_from(first, last)
    for word in words:
        yield from expanded(f"{pattern[: found.start()]}{word}{pattern[found.end() :]}")


def numbers_from(first: str, last: str) -> Iterator[str]:
    """Whole numbers with the zeros of the first one."""
    return (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))


def shards_of(folder: Path, pattern: str, flag: str) -> list[Path]:
    """The shards of a pattern, or of the patterns in a list.

    Raises:
        ValueError: one is not there, or is there twice.
    """
    words, listed = [pattern], folder / pattern
    if listed.suffix.lower() == LIST and listed.is_file():
        folder, words = listed.parent, [line.strip() for line in lines_in(listed, flag)]
    shards = list[Path]()
    for name in (name for word in words if word for name in expanded(word)):
        path = folder / name
        found = sorted(files_matching(path)) if is_pattern(name) else [path]
        if not (found and found[0].is_file()):
            inside = f"; {path / '*.tar'} would be all in it" if path.is_dir() else ""
            raise ValueError(f"{flag}: no shard {path}{inside}")
        shards += found
    if len({*map(Path.resolve, shards)}) != len(shards):
        raise ValueError(f"{flag}: the same shard is named twice")
    return shards
