"""Whether a run is being written, by a lock that its process holds and that ends with it.

The lock is on config.json, so no file can outlive the process and disagree. Other machines see it
where the file system keeps locks for all, as NFS 4 does; one that keeps none refuses nothing.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl.config.launcher import is_first
from cl.runs.files import CONFIG

TRIES, PAUSE = 10, 0.05  # who asks whether a run is running holds the lock for a moment


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run for this process, the first of all, as long as the context lasts.

    Args:
        folder: the run's, with its config.json.

    Raises:
        ValueError: another process writes it.
    """
    if not is_first():
        yield
        return
    try:
        file = (folder / CONFIG).open("r+b")  # NFS locks only what could be written
    except OSError:  # a folder that cannot be written says so where it matters
        yield
        return
    with file:
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not left:
                    raise ValueError(f"{folder} is being written by another process") from None
                time.sleep(PAUSE)
            except OSError:
                break
            else:
                break
        yield


def is_running(folder: Path) -> bool:
    """Whether a process holds this run.

    Args:
        folder: the run's.
    """
    try:
        with (folder / CONFIG).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
