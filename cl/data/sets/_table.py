"""Tables of image files: their columns by name, their paths, which must be there."""

import csv
from collections.abc import Sequence
from pathlib import Path

DELIMITERS = {".csv": ",", ".tsv": "\t"}
IMAGES = ("path", "image", "file", "filename", "filepath", "image_path", "file_name")
NAMED = 3  # of many things, in a message


def lines_in(file: Path, flag: str) -> list[str]:
    """The lines of a text.

    Raises:
        ValueError: it is none.
    """
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{flag}: {file} is no text in UTF-8 ({error})") from None


def table_in(file: Path, flag: str) -> dict[str, list[str]]:
    """The columns of a .csv or .tsv by their names, which its first line says.

    Raises:
        ValueError: it is no text, or a line has more values than there are columns.
    """
    lines = lines_in(file, flag)
    rows = csv.DictReader(lines, delimiter=DELIMITERS[file.suffix.lower()])
    columns: dict[str, list[str]] = {name: [] for name in rows.fieldnames or ()}
    for row in rows:
        if None in row:
            raise ValueError(
                f"{flag}: line {rows.line_num} of {file} has more values than its {len(columns)} "
                "columns; a value with a separator in it stands in quotation marks"
            )
        for name, values in columns.items():
            values.append(row[name] or "")
    return columns


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


def files_named(names: Sequence[str], file: Path, flag: str) -> list[Path]:
    """The files that a list names; relative paths start at its folder, empty ones are left out.

    Raises:
        ValueError: some of the files are not there.
    """
    paths = [file.parent / name.strip() for name in names if name.strip()]
    if absent := [path for path in paths if not path.is_file()]:
        some = ", ".join(map(str, absent[:NAMED]))
        raise ValueError(
            f"{flag}: {len(absent)} of the {len(paths)} files of {file} are not there: {some}"
        )
    return paths
