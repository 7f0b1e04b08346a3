"""metrics.csv: its columns, and how it is read, also where a run was killed while it wrote."""

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

MONITORS = (
    "monitor/embedding_std",
    "monitor/effective_rank",
    "monitor/alignment",
    "monitor/uniformity",
)
COLUMNS: tuple[str, ...] = (
    "step",
    "epoch",
    "train/loss",
    "train/probe_loss",
    "train/probe_top1",
    "val/loss",
    "val/probe_top1",
    "val/probe_top5",
    "val/knn_top1",
    "lr",
    "images_per_s",
    *MONITORS,
)


def read_metrics(file: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv, strings as they stand; none if there is no file.

    A last line without its end is what a killed run left of a row: half a number reads as another
    number, so it is left out, and a warning says so; lines that are no numbers are left out too.
    """
    if not file.exists():
        return []
    text = file.read_bytes().decode(errors="replace")
    head, *lines = whole_lines(text, file).splitlines() or [""]
    rows = [row for line in lines for row in csv.DictReader([head, line])]
    whole = [row for row in rows if fits_header(row)]
    if len(whole) < len(rows):
        warnings.warn(
            f"{file}: {len(rows) - len(whole)} damaged lines are left out of it", stacklevel=2
        )
    return whole


def fits_header(row: Mapping[str | None, str | None]) -> bool:
    """Whether a row has a step, and numbers or nothing in all its columns."""
    entries = [entry for name, entry in row.items() if name != "step"]
    if None in row or not (row.get("step") or "").isdecimal():
        return False
    return all(entry is not None and (not entry or reads_as_number(entry)) for entry in entries)


def reads_as_number(text: str) -> bool:
    """Whether a text is a number, NaN and infinity among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_newest(file: Path, size: int = 2**12) -> dict[str, str]:
    """The newest entry of each column, from the file's end: as fast for any number of rows.

    Args:
        file: a metrics.csv; without it there are no entries.
        size: bytes at the file's end that are read; more are where no epoch ends in these.
    """
    if not file.exists():
        return {}
    with file.open("rb") as f:
        head, start = f.readline().decode(errors="replace"), f.tell()
        f.seek(max(start, f.seek(0, io.SEEK_END) - size))
        inside = f.tell() > start
        text = f.read().decode(errors="replace")
    columns = next(csv.reader(head.splitlines()[:1]), [])
    if inside:  # behind the row that the cut is in
        text = text.partition("\n")[2]
    newest = {}
    for line in whole_lines(text, file).splitlines():
        row = next(csv.reader([line]), [])
        newest.update((name, entry) for name, entry in zip(columns, row, strict=False) if entry)
    ended = any(name.startswith(("val/", "monitor/")) for name in newest)
    return newest if ended or not inside else read_newest(file, 8 * size)


def whole_lines(text: str, file: Path) -> str:
    """The text up to its last whole line; what is left out is said."""
    whole, end, rest = text.rpartition("\n")
    if rest:
        warnings.warn(f"{file} is cut in its last line and is read up to it", stacklevel=3)
    return whole + end
