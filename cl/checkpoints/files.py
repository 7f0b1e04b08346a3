"""Files that are whole or not there: written beside, flushed, summed, renamed."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from safetensors import SafetensorError

SUM = re.compile(r"([0-9a-f]{64})\s")
# A full disk: torch's writer and safetensors do not raise OSError; and what takes memory to write.
WRITING = (OSError, RuntimeError, SafetensorError, MemoryError)


class NotSavedError(OSError):
    """A file could not be written; what was there before still is."""


class NotFiniteError(NotSavedError):
    """A file is not written, as numbers of its content are NaN or infinite."""


def write_whole(path: Path, write: Callable[[IO[bytes]], object], keep: Path | None = None) -> None:
    """Write a file with its sum, so that a crash at any moment leaves the old one or the new one.

    The new sum stands beside the old one while the file is exchanged: either file has its sum.

    Args:
        path: of the file.
        write: what writes into the open file.
        keep: where the file that is there now is kept, with its sum.

    Raises:
        NotSavedError: the disk is full, or gone, or nothing may be written.
    """
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(new)
        if keep is not None:
            keep_as(path, keep)
        waiting = write_new_sum(path, digest)
        new.replace(path)
        waiting.replace(sum_of(path))
        flush_folder(path.parent)
    except WRITING as error:
        new.unlink(missing_ok=True)  # what it takes of a full disk
        raise NotSavedError(f"{path}: {why_not_written(error)}") from error


def why_not_written(error: BaseException) -> str:
    """Why something could not be written; torch's writer tells a position in place of the disk's.

    >>> why_not_written(OSError(28, "No space left on device", "runs/1/last.new"))
    'No space left on device'
    """
    behind = error.__context__
    if isinstance(error, RuntimeError) and isinstance(behind, OSError):
        return why_not_written(behind)
    return getattr(error, "strerror", None) or str(error)


def keep_as(path: Path, kept: Path) -> None:
    """Keep a file under another name as well, with its sum, if it is there."""
    if not path.exists():
        return
    spare = kept.with_suffix(".new")
    spare.unlink(missing_ok=True)
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links
        shutil.copy2(path, spare)
    write_sum(kept, sha256(path))
    spare.replace(kept)


def write_sum(path: Path, digest: str) -> None:
    """Write a file's sum beside it, whole or not at all, as `sha256sum --check` reads it."""
    write_new_sum(path, digest).replace(sum_of(path))


def write_new_sum(path: Path, digest: str) -> Path:
    """Write the sum of what takes a file's place; where it stands until then."""
    new = new_sum_of(path)
    with new.open("w") as file:
        file.write(f"{digest}  {path.name}\n")
        file.flush()
        os.fsync(file.fileno())
    return new


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, which a rename alone need not bring there."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:  # a network's file system may not know it of folders
        pass
    finally:
        os.close(opened)


def sha256(path: Path) -> str:
    """The sum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_of(path: Path) -> Path:
    """Where the sum of a file stands."""
    return path.with_name(f"{path.name}.sha256")


def new_sum_of(path: Path) -> Path:
    """Where the sum of a file stands that takes its place."""
    return path.with_name(f"{path.name}.sha256.new")


def fits_sum(path: Path) -> bool | None:
    """Whether a file equals its sum; None without a sum that can be read, as an empty one.

    One that is exchanged meanwhile, as by a run that trains on, is read anew. The new sum is looked
    for first: once it is gone it stands in the old one's place.
    """
    while path.is_file():
        before = path.stat()
        sums = [read_sum(file) for file in (new_sum_of(path), sum_of(path))]
        if not any(sums):
            return None
        if sha256(path) in sums:
            return True
        after = path.stat()
        if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
            return False
    return False


def read_sum(file: Path) -> str:
    """The sum in a file; empty if there is none."""
    try:
        found = SUM.match(file.read_text())
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def valid(path: Path) -> bool:
    """Whether a file is there and equals its sum."""
    return path.is_file() and fits_sum(path) is True
