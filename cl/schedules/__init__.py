"""Numbers that change while training, as closed forms of the optimizer's step.

So they need no state, resume exactly, do not depend on the number of devices, and can be drawn
before a run. A file is a shape: `cosine.py` has the function `cosine`, which is `--scheduler
cosine`, behind a warm-up `--scheduler warmup_cosine`, and `--schedule NAME=cosine:END`.

A shape goes from 1 to 0, or stays above it. It asks by name for what it needs: `done`, the part of
its way that is behind it (0 to 1), `epoch`, the number of the epoch, or a field of
`cl.optim.Optimization`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
FOLLOWS_LOSS = "reduce"  # the one scheduler that is no function of the step
WARM = "warmup_"
FORM = "NAME=SHAPE:END[:STEPS]"


def get_shape(name: str) -> Callable[..., float]:
    """The shape of that name, e.g. `get_shape("cosine")` is `cl.schedules.cosine.cosine`.

    Raises:
        ValueError: there is none.
    """
    if name not in NAMES:
        raise ValueError(f"there is no schedule {name}; use one of {', '.join(NAMES)}")
    return getattr(import_module(f"cl.schedules.{name}"), name)


@cache
def needs(name: str) -> frozenset[str]:
    """What a shape asks for by name.

    >>> sorted(needs("step"))
    ['epoch', 'lr_decay_epochs', 'lr_decay_rate']
    """
    return frozenset(inspect.signature(get_shape(name)).parameters)


def height(name: str, **known: object) -> float:
    """The value of a shape, 1 at its start.

    Args:
        name: of the shape.
        known: `done`, `epoch` and what else it may need; the rest is ignored.

    >>> height("linear", done=0.25, epoch=3)
    0.75
    """
    return get_shape(name)(**{k: known[k] for k in needs(name) if k in known})


def schedulers() -> list[str]:
    """The values of `--scheduler`: each shape, each shape behind a warm-up, and `reduce`."""
    return [*NAMES, *with_warmup(), FOLLOWS_LOSS]


def with_warmup() -> tuple[str, ...]:
    """The values of `--scheduler` that begin with a warm-up."""
    return tuple(WARM + name for name in NAMES)


def asking(option: str) -> tuple[str, ...]:
    """The values of `--scheduler` whose shape asks for an option.

    >>> asking("lr_decay_epochs")
    ('step', 'warmup_step')
    """
    return tuple(
        s for s in schedulers() if s != FOLLOWS_LOSS and option in needs(s.removeprefix(WARM))
    )


def default_of(scheduler: str, option: str) -> Any:
    """The default of an option of a scheduler's shape; None where it has none.

    >>> default_of("warmup_exponential", "lr_decay_rate")
    0.95
    """
    if scheduler not in asking(option):
        return None
    return inspect.signature(get_shape(scheduler.removeprefix(WARM))).parameters[option].default


def shapes() -> list[str]:
    """The shapes that a number other than the learning rate can follow: those of `done` alone."""
    return [name for name in NAMES if needs(name) == {"done"}]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """From `start` to `end` within `steps` along a shape, then `end`.

    Args:
        start: first value.
        end: final value; None keeps `start` constant.
        steps: optimizer steps from one to the other; None is the rest of the run.
        after: before this step the value is 0, whatever the shape says.
        shape: one of `shapes()`.

    >>> s = Schedule(start=0.0, end=1.0, steps=4)
    >>> [round(s.at(step, 100), 3) for step in (0, 1, 2, 4, 50)]
    [0.0, 0.146, 0.5, 1.0, 1.0]
    """

    start: float
    end: float | None = None
    steps: int | None = None
    after: int = 0
    shape: str = "cosine"

    def at(self, step: int, total: int) -> float:
        """The value at an optimizer step of a run of `total` steps."""
        if step < self.after:
            return 0.0
        if self.end is None:
            return self.start
        length = max(1, total if self.steps is None else self.steps)
        done = min(step / length, 1.0)
        return self.end + (self.start - self.end) * height(self.shape, done=done)


def parse_schedule(word: str) -> tuple[str, str, float, int | None]:
    """Name, shape, end and steps of what `--schedule` is given.

    Raises:
        ValueError: it is not of the form `NAME=SHAPE:END[:STEPS]`.

    >>> parse_schedule("temperature=cosine:0.5"), parse_schedule("gamma=linear:0:1000")
    (('temperature', 'cosine', 0.5, None), ('gamma', 'linear', 0.0, 1000))
    """
    found = re.fullmatch(r"(\w+)=(\w+):([-+.\de]+)(?::([1-9]\d*))?", word)
    if not found:
        raise ValueError(f"--schedule {word} is not of the form {FORM}")
    name, shape, end, steps = found.groups()
    if shape not in shapes():
        raise ValueError(f"--schedule {word}: the shape must be one of {', '.join(shapes())}")
    return name, shape, float(end), int(steps) if steps else None
