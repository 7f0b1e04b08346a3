"""The card of a pretraining: command, code, versions, machine and time of each of its starts."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cl
from cl.config.machine import sentence_of
from cl.config.programs import PROGRAMS, from_clone
from cl.logs import CREDENTIALS
from cl.runs.files import CARD
from cl.runs.folder import other_rank
from cl.versions import versions

PROCESSOR = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)
PATIENCE = 5  # s, for git


@contextmanager
def carded(folder: Path, devices: str) -> Iterator[dict[str, Any]]:
    """Note a start of a run in its card, and in the end what became of it; on the first process.

    What is killed leaves an entry without an end. A card that cannot be written ends nothing.

    Args:
        folder: the run's.
        devices: what it computes on.

    Yields:
        The entry, for its exit `code`.
    """
    if other_rank():
        yield {}
        return
    since, earlier = time.monotonic(), read_starts(folder)
    entry = {**this_start(), "devices": devices, "ended": None}
    write_card(folder, [*earlier, entry])
    try:
        yield entry
    except BaseException as error:
        entry["error"] = type(error).__name__
        raise
    finally:
        entry |= {"ended": now(), "seconds": round(time.monotonic() - since, 1)}
        write_card(folder, [*earlier, entry])


def this_start() -> dict[str, Any]:
    """What is known of this process before it works."""
    return {
        "started": now(),
        "command": command_line(),
        "cl": cl.__version__,
        "commit": commit(),
        "versions": versions(),
        "host": platform.node(),
        "processor": processor(),
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> str | None:
    """As it was typed, without what stands in front of a URL's host; None of a call from Python."""
    program = Path(sys.argv[0]).name
    if program not in ("main_contrastive.py", "cl-pretrain"):
        return None
    return CREDENTIALS.sub("", shlex.join([program, *sys.argv[1:]]))


def commit() -> str | None:
    """The commit of the clone, with a + where files of it are changed; None where none is known."""
    if not (from_clone() and (PROGRAMS / ".git").exists()):
        return None
    git = ["git", "-C", str(PROGRAMS)]
    try:
        head, changed = (
            subprocess.run(
                [*git, *words], capture_output=True, text=True, timeout=PATIENCE, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}{'+' if changed else ''}"


def processor() -> str:
    """Its name, and how many cores this process may use."""
    file = Path("/proc/cpuinfo")
    names = PROCESSOR.findall(file.read_text(errors="replace")) if file.exists() else []
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return f"{names[0] if names else platform.processor()}, {cores} cores"


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The starts of a run so far; none where there is no card that can be read."""
    try:
        found = json.loads((folder / CARD).read_text(encoding="utf-8"))["starts"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [start for start in found if isinstance(start, dict)] if isinstance(found, list) else []


def write_card(folder: Path, starts: list[dict[str, Any]]) -> None:
    """Write the card, whole or not at all; what fails is a warning."""
    new = folder / f"{CARD}.new"
    try:
        new.write_text(json.dumps({"starts": starts}, indent=2) + "\n", encoding="utf-8")
        new.replace(folder / CARD)
    except OSError as error:
        warnings.warn(f"{CARD} is not written: {sentence_of(error)}", stacklevel=3)
