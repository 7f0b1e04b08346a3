"""Copies of gzipped files that can be read from any place, in the user's cache."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path

from cl.locking import alone

GZIP = b"\x1f\x8b"
BLOCK = 2**20


def cache() -> Path:
    """The folder of the copies; nothing is written where the data are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cl" / "unpacked"


def uncompressed(file: Path) -> Path:
    """The file itself, or of a gzipped one the copy, which is made where there is none.

    Raises:
        ValueError: it is damaged, or the copy cannot be written.
    """
    with file.open("rb") as opened:
        if opened.read(2) != GZIP:
            return file
    state = file.stat()
    words = f"{file.resolve()} {state.st_size} {state.st_mtime_ns}"
    copy = cache() / hashlib.sha256(os.fsencode(words)).hexdigest()[:16]
    if copy.exists():
        return copy
    with alone(copy.with_suffix(".lock")) as locked:
        if not copy.exists():  # nor has another process made it meanwhile
            unpack(file, copy, copy.with_suffix(".new" if locked else f".{os.getpid()}"))
    return copy


def unpack(file: Path, copy: Path, new: Path) -> None:
    """Unpack a gzipped file, whole or not at all.

    Args:
        file: the gzipped one.
        copy: what it becomes.
        new: where that is written first.

    Raises:
        ValueError: it is damaged, or the copy cannot be written.
    """
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file) as packed, new.open("wb") as written:
            shutil.copyfileobj(packed, written, BLOCK)
        new.replace(copy)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{file} is no whole gzip file: {error}") from None
    except OSError as error:
        raise ValueError(
            f"{file} cannot be unpacked into {copy.parent} ({error}); unpack it by gunzip"
        ) from None
    finally:
        new.unlink(missing_ok=True)
