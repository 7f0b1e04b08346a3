"""Copies of gzipped files that can be read from any place, in the user's cache."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path

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
    copy = cache() / hashlib.sha256(words.encode()).hexdigest()[:16]
    if copy.exists():
        return copy
    new = copy.with_suffix(f".{os.getpid()}")
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with gzip.open(file) as packed, new.open("wb") as written:
            shutil.copyfileobj(packed, written, BLOCK)
        new.replace(copy)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{file} is no whole gzip file: {error}") from None
    except OSError as error:
        raise ValueError(
            f"{file} cannot be unpacked into {cache()} ({error}); unpack it by gunzip"
        ) from None
    finally:
        new.unlink(missing_ok=True)
    return copy
