"""Files of a text or of a JSON object a line, packed by gzip or not; faults name the line."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cl.data.sets._images import Index
from cl.data.sets._source import Where
from cl.data.sets._walk import VALIDATION, part_of_name

HELD_OUT = 0.1  # of the documents, where a file has no part for validation
T = TypeVar("T")


class LineError(ValueError):
    """What is wrong with a line of a file."""


def read_each(name: str, where: Where, of_line: Callable[[str], T]) -> list[T]:
    """What is in each line of a data set's file.

    Args:
        name: of the data set, its file behind the colon.
        where: the folder in which the file lies.
        of_line: from a line to what is in it; it raises a `LineError`.

    Raises:
        ValueError: there is no such file, or a line is wrong; the message names it.
    """
    file = where.folder / name.partition(":")[2]
    found, number = list[T](), 0
    try:
        for line in lines_of(file):
            number += 1
            found.append(of_line(line))
    except (OSError, EOFError) as error:  # also of an archive that is damaged
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"DATASET {name}: {file} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        at = f"{file}, line {number + 1}"
        raise ValueError(f"DATASET {name}: {at}: it is not text in UTF-8") from None
    except LineError as error:
        raise ValueError(f"DATASET {name}: {file}, line {number}: {error}") from None
    if not found:
        raise ValueError(f"DATASET {name}: {file} is empty")
    return found


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a file, without their ends."""
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            yield line.decode("utf-8").rstrip("\r\n")


def record_of(line: str) -> dict[str, Any]:
    """The JSON object in a line.

    Raises:
        LineError: there is none.
    """
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise LineError(f"it is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise LineError("it must be a JSON object")
    return found


def text_in(record: dict[str, Any], key: str) -> str:
    """The text that a record has for a key.

    Raises:
        LineError: there is none, or it is empty.
    """
    if key not in record:
        raise LineError(f"it has no {key}")
    return text_of(record[key], key)


def texts_in(record: dict[str, Any], key: str) -> list[str]:
    """The texts that a record has for a key; none without it.

    Raises:
        LineError: it is no list, or one of them is no text or empty.
    """
    found = record.get(key, [])
    if not isinstance(found, list):
        raise LineError(f"{key} must be a list of texts")
    return [text_of(text, f"one of {key}") for text in found]


def text_of(text: Any, what: str) -> str:
    """A text that is not empty.

    Raises:
        LineError: it is.
    """
    if not isinstance(text, str):
        raise LineError(f"{what} must be a text, not {json.dumps(text)[:40]}")
    if not text.strip():
        raise LineError(f"{what} is empty")
    return text


def part_in(record: dict[str, Any]) -> str | None:
    """The part that a record says it belongs to, `train` or one that validates; None: it does not.

    Raises:
        LineError: it is a word of no part.
    """
    if "split" not in record:
        return None
    part = part_of_name(str(record["split"]))
    if part is None:
        raise LineError(f"split must be train, val or test, not {record['split']}")
    return part


def parts_of(parts: Sequence[str | None], labels: Index) -> tuple[Index, Index, str]:
    """The places of training and of validation, and in words how they came about.

    What says val validates, or else what says test; if nothing says either, a tenth of the
    documents does, always the same ones, so that no document is in both.

    Args:
        parts: of each sample.
        labels: the number of each sample's document.
    """
    named = np.array([part or "train" for part in parts])
    second = next((part for part in VALIDATION if (named == part).any()), None)
    if second is not None:
        return np.flatnonzero(named == "train"), np.flatnonzero(named == second), ""
    documents = np.unique(labels)
    number = min(len(documents) - 1, max(1, round(HELD_OUT * len(documents))))
    chosen = np.random.default_rng(0).permutation(documents)[:number]
    held_out = np.isin(labels, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out), "a tenth of the documents"
