"""What an operating system refuses, as a sentence that says what is wrong and what to do."""

import errno
import math
import os
import re
import time
import warnings

ADVICE = {
    errno.ENOSPC: "delete what is not needed there, or choose a folder of another disk",
    errno.EDQUOT: "delete what is not needed there, or choose a folder of another disk",
    errno.EACCES: "its owner and mode forbid it to this user; choose another one, or change them",
    errno.EPERM: "its owner and mode forbid it to this user; choose another one, or change them",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOTDIR: "a file stands where a folder must be",
    errno.EEXIST: "a file stands where a folder must be",
    errno.EISDIR: "a folder stands where a file must be",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EMFILE: "ulimit -n raises the limit, fewer --num_workers need fewer",
    errno.ENOMEM: "a smaller --batch_size, parts of a batch (--mini_batch_size), more processes "
    "with the same --global_batch_size, or fewer --num_workers need less",
}
WORKERS = "Original Traceback (most recent call last):"  # how torch hands on what a worker raised
TRIED = re.compile(r"[Tt]ried to allocate ([\d.]+ \w+)")  # torch's words

HOUR = 3600.0  # s


class Hourly:
    """Warns at most once an hour, so that a disk that is full for days fills no log."""

    def __init__(self) -> None:
        self.said = -math.inf

    def warn(self, message: str) -> None:
        """Warn, unless it was done in the last hour."""
        if time.monotonic() - self.said >= HOUR:
            self.said = time.monotonic()
            warnings.warn(f"{message} (said at most once an hour)", stacklevel=3)


def is_of_machine(error: BaseException) -> bool:
    """Whether an error says something of the machine, and not that the program is wrong.

    A file that was closed too early is the program's own.
    """
    if isinstance(error, OSError):
        return error.errno != errno.EBADF
    return is_of_memory(error)


def is_of_memory(error: BaseException) -> bool:
    """Whether a process or a GPU has too little memory; torch says so by errors of its own."""
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and of_torch)


def sentence_of(error: Exception) -> str:
    """An error in one line, without the traceback that a loader's worker process puts into it.

    >>> sentence_of(PermissionError(errno.EROFS, "Read-only file system", "/data/runs"))
    '/data/runs: Read-only file system; choose a folder that can be written'
    """
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        advice = f"; {ADVICE[error.errno]}" if error.errno in ADVICE else ""
        return f"{where}{error.strerror}{advice}"
    if is_of_memory(error):
        asked = TRIED.search(str(error))
        said = f"the memory is not enough for {asked[1]} more" if asked else str(error)
        return f"{said or 'the memory is not enough'}; {ADVICE[errno.ENOMEM]}"
    text = str(error)
    if WORKERS in text:
        text = text.rstrip().splitlines()[-1].partition(": ")[2] or text
    return " ".join(text.split()) or type(error).__name__
