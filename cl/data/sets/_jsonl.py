"""Files of texts, a line an item, gzipped or not; whatever is wrong is named by file and line."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

GZIP = ".gz"


def existing(file: Path) -> Path | None:
    """The file, or the same gzipped; None where neither is there.

    Args:
        file: its path without .gz.
    """
    packed = file.with_name(file.name + GZIP)
    return next((found for found in (file, packed) if found.is_file()), None)


def lines(file: Path, flag: str) -> Iterator[tuple[str, str]]:
    """The lines of a text file in UTF-8; blank ones are left out.

    Args:
        file: gzipped if its name ends in .gz.
        flag: what named it on the command line, for messages.

    Yields:
        The place, as "DATASET beir:x: corpus.jsonl, line 3", and the line without its end.

    Raises:
        ValueError: it cannot be read or is not in UTF-8; with the file and the line.
    """
    if not file.exists():
        raise ValueError(f"{flag}: there is no {file}")
    number = 0
    opener = gzip.open if file.suffix == GZIP else open
    try:
        with opener(file, "rb") as content:
            for number, raw in enumerate(content, 1):
                if raw.strip():
                    yield f"{flag}: {file}, line {number}", raw.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        said = "its bytes are damaged" if isinstance(error, zlib.error) else error
        raise ValueError(f"{flag}: {file}, line {number or 1} cannot be read: {said}") from None


def json_lines(file: Path, flag: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its place, see `lines`.

    Raises:
        ValueError: a line is not JSON, or no object.
    """
    for place, line in lines(file, flag):
        try:
            row = json.loads(line)
        except RecursionError:
            raise ValueError(
                f"{place} is not JSON that can be read: it is nested too deep"
            ) from None
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{place} is not JSON: {error.msg} at its character {error.pos + 1}"
            ) from None
        if not isinstance(row, dict):
            raise ValueError(f"{place} is not a JSON object, but {line[:40]}")
        yield place, row


def text_of(row: Mapping[str, Any], key: str, place: str) -> str:
    """A text of an object.

    Raises:
        ValueError: it is missing, no text, or empty.
    """
    if key not in row:
        raise ValueError(f'{place} has no "{key}", but {", ".join(row) or "nothing"}')
    text = row[key]
    if not isinstance(text, str):
        raise ValueError(
            f'{place}: "{key}" is not a text, but {json.dumps(text, default=str)[:40]}'
        )
    if not text.strip():
        raise ValueError(f'{place}: "{key}" is empty')
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f'{place}: "{key}" has half of a character (a lone surrogate)')
    return text
