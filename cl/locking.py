"""Locks on files, which end with the process that has them, so that none is left behind.

Other machines see them where the file system keeps locks for all, as NFS 4 does.
"""

import fcntl
import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

PAUSE = 0.1  # s between two looks whether another process has ended
QUIET = 5.0  # s after which it is said what is waited for


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Wait until no other process has a lock, and keep it; its file is there only meanwhile.

    What others may have made in that time is looked for inside.

    Args:
        lock: a file that is made for it.

    Yields:
        Whether it is locked; nothing is waited for where nothing can be locked or written.
    """
    said = time.monotonic() + QUIET
    while True:
        try:
            handle = lock_file(lock)
        except BlockingIOError:
            if time.monotonic() > said:
                said = math.inf
                warnings.warn(f"waiting for another process, which has {lock}", stacklevel=3)
            time.sleep(PAUSE)
        else:
            break
    try:
        yield handle is not None
    finally:
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def lock_file(lock: Path) -> int | None:
    """Lock a file that is made for it; None where nothing can be locked or written.

    Raises:
        BlockingIOError: another process has it.
    """
    if not is_writable(lock.parent):
        return None
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except FileNotFoundError:  # who had it has just deleted it
            pass
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        os.close(handle)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
