"""Locks that end with the processes that hold them, so that none can be left behind.

Other machines see them where the file system keeps locks for all, as NFS 4 does.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def acquire(file: Path) -> int | None:
    """Lock a file; None where another process has it.

    Returns:
        A descriptor. The lock lasts until this process and all that inherited it have closed it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def is_locked(file: Path) -> bool:
    """Whether a process has the lock."""
    if not file.exists():
        return False
    handle = acquire(file)
    if handle is not None:
        os.close(handle)
    return handle is None


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock.

    Raises:
        ValueError: another process has it.
    """
    handle = acquire(file)
    if handle is None:
        raise ValueError(f"{file.parent} is being worked on by another process.")
    try:
        yield
    finally:
        os.close(handle)
