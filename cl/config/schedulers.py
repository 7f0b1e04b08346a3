"""The values of `--scheduler`, and what the shapes behind them ask for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cl import schedules
from cl.config import signature
from cl.config.schema import either

POSITION = ("done", "epoch")  # what a shape is a function of


@dataclass(frozen=True)
class Schedulers:
    """The schedulers for which something holds; of your own too, which cannot be listed."""

    holds: Callable[[str], bool]

    def __contains__(self, scheduler: str) -> bool:
        return self.holds(scheduler)

    def __iter__(self) -> Iterator[str]:
        return filter(self.holds, schedules.schedulers())


def asks_for(option: str, scheduler: str) -> bool:
    """Whether the shape of a scheduler has a parameter of that name."""
    shape = scheduler if ":" in scheduler else scheduler.removeprefix(schedules.WARM)
    found = signature.find("schedule", shape)
    return found is not None and option in (*found.arguments, *found.keywords)


def unusable(shape: str, position: tuple[str, ...] = POSITION) -> str:
    """Why a shape of your own cannot be used; empty if it can.

    Args:
        shape: `MODULE:NAME`, or a name, of which there is nothing to say.
        position: what it may be a function of.
    """
    if ":" not in shape:
        return ""
    found = signature.find("schedule", shape)
    if found is None:
        return "the module has no such function"
    wrong = {*found.arguments} - {*position}
    return f"it must be a function of {either(position)}, not of {', '.join(wrong)}" * bool(wrong)
