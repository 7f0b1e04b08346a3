"""Runs, a folder each: `folder` makes and continues one, `listing` finds and reads many.

`python -m cl.runs` lists, shows, compares and deletes them. What needs torch is loaded when it is
first used, so that a list of runs comes at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cl.runs.files import CONFIG, METRICS, RESULT, SKIPPED, START
from cl.runs.lock import HELD, hold, is_running, leave, occupy

if TYPE_CHECKING:
    from cl.runs.folder import (
        Run,
        command,
        command_from_here,
        folder_of,
        how_to_go_on,
        keep_skipped,
        new_id,
        other_rank,
        record,
        saved,
        start,
        started_again,
        withdrawn_if_refused,
    )

__all__ = [
    "CONFIG",
    "HELD",
    "METRICS",
    "RESULT",
    "SKIPPED",
    "START",
    "Run",
    "command",
    "command_from_here",
    "folder_of",
    "hold",
    "how_to_go_on",
    "is_running",
    "keep_skipped",
    "leave",
    "new_id",
    "occupy",
    "other_rank",
    "record",
    "saved",
    "start",
    "started_again",
    "withdrawn_if_refused",
]


def __getattr__(name: str) -> Any:
    """A name of `folder`."""
    if name in __all__:
        return getattr(import_module("cl.runs.folder"), name)
    raise AttributeError(f"module 'cl.runs' has no attribute {name!r}")
