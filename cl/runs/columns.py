"""A list of runs on a terminal: each run is one line of it, with what fits."""

import os
import shutil
import sys
from collections.abc import Sequence

GAP = 2  # spaces between columns
SHORT = 26  # characters, to which long words are cut before a column is left out


def terminal_width() -> int | None:
    """Characters in a line of the terminal, or as `COLUMNS` says; None where nobody looks."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def fit_columns(
    rows: Sequence[Sequence[str]], width: int, left_out: Sequence[str]
) -> list[list[str]]:
    """Rows that are no wider than a terminal, as far as that can be.

    First columns without an entry are left out, then long words are cut in their middle, then
    further columns are left out, and at last the first one, the name, is as short as it must be.

    Args:
        rows: the titles of the columns, then a row for each run.
        width: characters in a line.
        left_out: titles of the columns that may be left out, in this order.

    >>> fit_columns([["run", "data", "size"], ["a-long-name", "digits", ""]], 16, ["data"])
    [['run'], ['a-long-name']]
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    if line_width(columns) > width:
        columns = [column for column in columns if any(column[1:])]
    if line_width(columns) > width:
        columns = [[cut(word, SHORT) for word in column] for column in columns]
    for title in left_out:
        if line_width(columns) > width:
            columns = [column for column in columns if column[0] != title]
    if over := max(0, line_width(columns) - width):
        room = max(1, max(map(len, columns[0])) - over)
        columns[0] = [cut(word, room) for word in columns[0]]
    return [list(row) for row in zip(*columns, strict=True)]


def line_width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + GAP for column in columns) - GAP


def cut(word: str, room: int) -> str:
    """A word without its middle, where it is longer than so many characters.

    >>> cut("losses/NT-Xent-s0-16465bd8", 16)
    'losses/…16465bd8'
    """
    end = room // 2
    return word if len(word) <= room else f"{word[: room - 1 - end]}…{word[len(word) - end :]}"
