"""Which process works on a folder: a file that names it, by number, host and time of its start."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def identify(pid: int) -> str:
    """A process in a line; the time of its start tells it from a later one of the same number."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # it has ended, or this is no Linux
        started = "-"
    return f"{pid} {socket.gethostname()} {started}"


def alive(file: Path) -> bool:
    """Whether the process that a file names still runs; of another host it is taken to."""
    try:
        pid, host, _ = (words := file.read_text()).split()
    except (OSError, ValueError):  # no file, or the process ended while writing it
        return False
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return identify(int(pid)) == words


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock file; one that a process left behind that has ended is taken over.

    Raises:
        ValueError: another process holds it.
    """
    while True:
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            if alive(file):
                raise ValueError(
                    f"{file.parent} is worked on by process {file.read_text()}; if that has ended, "
                    f"delete {file}"
                ) from None
            file.unlink(missing_ok=True)
    with os.fdopen(handle, "w") as held:
        held.write(identify(os.getpid()))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
