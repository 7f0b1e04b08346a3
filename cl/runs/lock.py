"""Whether a run is being written, by a lock that its process holds and that ends with it.

The lock is on config.json, so no file can outlive the process and disagree. Other machines see it
where the file system keeps locks for all, as NFS 4 does. Where it keeps none `owner.json` says who
writes: of a process on this machine it can be seen whether it lives, of another machine's not.
"""

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from cl.config.launcher import is_first
from cl.runs.files import CONFIG, OWNER

TRIES, PAUSE = 10, 0.05  # who asks whether a run is running holds the lock for a moment
HELD: dict[Path, IO[bytes]] = {}  # by this process
STARTED: set[Path] = set()  # those of them that nobody works on yet


def occupy(folder: Path, later: bool = False, take_over: bool = False) -> None:
    """Keep a run for this process, the first of all, until `leave` or its end.

    Args:
        folder: the run's; its config.json is made, empty, if there is none.
        later: it is `hold` that goes on with it.
        take_over: from a process of another machine, which is said to have ended.

    Raises:
        ValueError: another process writes it, or may do so.
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
    try:
        check_owner(folder, take_over)
    except ValueError:
        file.close()
        raise
    forget_in_children()
    HELD[folder] = file
    with suppress(OSError):  # of a full disk the first checkpoint will tell
        (folder / OWNER).write_text(json.dumps(this_process()) + "\n")
    STARTED.update({folder} if later else ())


def leave(folder: Path) -> None:
    """Let others have a run that this process has kept."""
    STARTED.discard(folder.resolve())
    if file := HELD.pop(folder.resolve(), None):
        with suppress(OSError):
            if read_owner(folder) == this_process():
                (folder / OWNER).unlink()
            fcntl.flock(file, fcntl.LOCK_UN)
        file.close()


def forget() -> None:
    """Close what a loader's worker process has inherited, which would outlive its parent."""
    for file in HELD.values():
        file.close()
    HELD.clear()


@cache
def forget_in_children() -> None:
    """Have `forget` called in each process that this one forks from now on."""
    os.register_at_fork(after_in_child=forget)


def this_process() -> dict[str, Any]:
    """What tells this process from all others; under SLURM its job, which is requeued as one."""
    process = os.getpid()
    job = os.environ.get("SLURM_JOB_ID", "")
    return {"host": platform.node(), "process": process, "began": began(process), "job": job}


def began(process: int) -> str:
    """When a process of this machine was started, so that its number's next owner is another one.

    Empty where it is not there, or where the system does not tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""


def read_owner(folder: Path) -> dict[str, Any]:
    """Who wrote a run last and has not left it; empty if nobody, or if the file is damaged."""
    try:
        found = json.loads((folder / OWNER).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check_owner(folder: Path, take_over: bool) -> None:
    """Check that nobody else writes a run, where a lock does not tell.

    One of this machine that has ended writes no more; nor does the one before a job's requeue.

    Raises:
        ValueError: a process does, or one of another machine may do so.
    """
    owner, own = read_owner(folder), this_process()
    if not owner or owner == own or (own["job"] and owner.get("job") == own["job"]):
        return
    process, host = owner.get("process"), owner.get("host")
    if host == own["host"]:
        found = began(process) if isinstance(process, int) else ""
        if found and owner.get("began") == found:
            raise ValueError(f"{folder} is being written by process {process} of this machine")
    elif not take_over:
        raise ValueError(
            f"{folder} belongs to process {process} of the machine {host}, and nobody here can "
            "tell whether it has ended; if it has, --take_over goes on in its place"
        )


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
