"""Tables of image files: their columns by name, their paths, which must be there."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from cl.data.sets._paths import PathArray

DELIMITERS = {".csv": ",", ".tsv": "\t"}
IMAGES = ("path", "image", "file", "filename", "filepath", "image_path", "file_name")
NAMED = 3  # of many things, in a message


def lines_in(file: Path, flag: str) -> Iterator[str]:
    """The lines of a text, one after the other.

    Raises:
        ValueError: it is none.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            yield from lines
    except UnicodeDecodeError as error:
        raise ValueError(f"{flag}: {file} is no text in UTF-8 ({error})") from None


def columns_in(file: Path, flag: str) -> list[str]:
    """The names of the columns of a .csv or .tsv, which its first line says.

    Raises:
        ValueError: it is no text.
    """
    return next(rows_of_table(file, flag), (1, []))[1]


def column_in(file: Path, name: str, flag: str) -> Iterator[str]:
    """The values in a column of a .csv or .tsv, without blanks around them.

    Raises:
        ValueError: it is no text, or a line has more values than there are columns.
    """
    rows = rows_of_table(file, flag)
    _, columns = next(rows)
    at = columns.index(name)
    for line, row in rows:
        if len(row) > len(columns):
            raise ValueError(
                f"{flag}: line {line} of {file} has more values than its {len(columns)} "
                "columns; a value with a separator in it stands in quotation marks"
            )
        yield row[at].strip() if at < len(row) else ""


def rows_of_table(file: Path, flag: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a .csv or .tsv with the numbers of their lines, but for empty ones.

    Raises:
        ValueError: it is no text, or no such table.
    """
    try:
        rows = csv.reader(lines_in(file, flag), delimiter=DELIMITERS[file.suffix.lower()])
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise ValueError(f"{flag}: {file} is no table ({error})") from None


def column_called(
    columns: Sequence[str], names: Sequence[str], what: str, file: Path, flag: str
) -> str:
    """The one column that has one of some names.

    Args:
        columns: all that there are.
        names: in small letters.
        what: it is of, for the message.
        file: with the columns.
        flag: that named the file.

    Raises:
        ValueError: there is none, or several.
    """
    named = [name for name in columns if name.strip().lower() in names]
    if len(named) != 1:
        raise ValueError(
            f"{flag}: the first line of {file} must name one column of {what} "
            f"({', '.join(names)}); it has {', '.join(named or columns) or 'nothing'}"
        )
    return named[0]


def files_named(names: Iterable[str], file: Path, flag: str) -> PathArray:
    """The files that a list names; relative paths start at its folder, empty ones are left out.

    Raises:
        ValueError: some of the files are not there.
    """
    root, absent = str(file.parent), list[str]()

    def known() -> Iterator[str]:
        for name in (str(PurePath(name.strip())) for name in names if name.strip()):
            path = os.path.join(root, name)  # noqa: PTH118  # a Path costs ten times
            if not os.path.isfile(path):  # noqa: PTH113
                absent.append(path)
            yield name

    paths = PathArray.of(known(), root)
    if absent:
        some = ", ".join(absent[:NAMED])
        raise ValueError(
            f"{flag}: {len(absent)} of the {len(paths)} files of {file} are not there: {some}"
        )
    return paths
