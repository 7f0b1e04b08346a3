"""Whether a run is being written, by a lock that its process holds and that ends with it.

The lock is on config.json, so no file can outlive the process and disagree. Other machines see it
where the file system keeps locks for all, as NFS 4 does; one that keeps none refuses nothing.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cl.config.launcher import is_first
from cl.runs.files import CONFIG

TRIES, PAUSE = 10, 0.05  # who asks whether a run is running holds the lock for a moment
HELD: dict[Path, IO[bytes]] = {}  # by this process
STARTED: set[Path] = set()  # those of them that nobody works on yet


def occupy(folder: Path, later: bool = False) -> None:
    """Keep a run for this process, the first of all, until `leave` or its end.

    Args:
        folder: the run's; its config.json is made, empty, if there is none.
        later: it is `hold` that goes on with it.

    Raises:
        ValueError: another process writes it.
    """
    folder = folder.resolve()
    if not is_first():
        return
    if folder in STARTED:  # and then nobody held it
        leave(folder)
    try:
        file = (folder / CONFIG).open("a+b")  # NFS locks only what could be written
    except OSError:  # a folder that cannot be written says so where it matters
        return
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                file.close()
                raise ValueError(f"{folder} is being written by {holder(folder)}") from None
            time.sleep(PAUSE)
        except OSError:
            break
        else:
            break
    if not HELD:
        os.register_at_fork(after_in_child=forget)
    HELD[folder] = file
    STARTED.update({folder} if later else ())


def leave(folder: Path) -> None:
    """Let others have a run that this process has kept."""
    STARTED.discard(folder.resolve())
    if file := HELD.pop(folder.resolve(), None):
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


def forget() -> None:
    """Close what a loader's worker process has inherited, which would outlive its parent."""
    for file in HELD.values():
        file.close()
    HELD.clear()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a run for this process as long as the context lasts.

    Args:
        folder: the run's, with its config.json.

    Raises:
        ValueError: another process writes it.
    """
    if folder.resolve() in STARTED:
        STARTED.discard(folder.resolve())
    else:
        occupy(folder)
    try:
        yield
    finally:
        leave(folder)


def holder(folder: Path) -> str:
    """Which process writes a run, in words, as far as Linux tells it of this machine."""
    with suppress(OSError, IndexError, ValueError):
        inode = (folder / CONFIG).stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if int(words[5].rpartition(":")[2]) == inode:
                return f"process {words[4]} of this machine"
    return "another process"


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
