"""Numbers that change while training, as closed forms of the optimizer's step.

So they need no state, resume exactly, do not depend on the number of devices, and can be drawn
before a run. A file is a shape: `cosine.py` has the function `cosine`, which is `--scheduler
cosine`, behind a warm-up `--scheduler warmup_cosine`, and `--schedule NAME=cosine:END`. One of your
own is `package.module:function` in the same places, or the function itself from Python.

A shape goes from 1 to 0, or stays above it. It asks by name for what it needs: `done`, the part of
its way that is behind it (0 to 1), `epoch`, the number of the epoch, `epochs_done`, which has its
part as well, `epochs_after_warmup`, how many are done since the warm-up, or a field of
`cl.optim.Optimization`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
FOLLOWS_LOSS = "reduce"  # the one scheduler that is no function of the step
WARM = "warmup_"
FORM = "NAME=SHAPE:END[:STEPS]"
Shape = Callable[..., float]


def get_shape(name: str | Shape) -> Shape:
    """The shape of that name, e.g. `get_shape("cosine")` is `cl.schedules.cosine.cosine`.

    Args:
        name: of a file of this folder, `package.module:function`, or the function itself.

    Raises:
        ValueError: there is none.
    """
    name = getattr(name, "object", name)  # of a caller from Python, as a configuration keeps it
    if callable(name):
        return name
    module, colon, function = name.partition(":")
    if colon:
        return getattr(import_module(module), function)
    if name not in NAMES:
        raise ValueError(f"there is no schedule {name}; use one of {', '.join(NAMES)}")
    return getattr(import_module(f"cl.schedules.{name}"), name)


def needs(name: str | Shape) -> frozenset[str]:
    """What a shape asks for by name.

    >>> sorted(needs("step"))
    ['epochs_done', 'lr_decay_epochs', 'lr_decay_rate']
    """
    return frozenset(inspect.signature(get_shape(name)).parameters)


def height(name: str | Shape, **known: object) -> float:
    """The value of a shape, 1 at its start.

    Args:
        name: see `get_shape`.
        known: `done`, `epoch` and what else it may need; the rest is ignored, and of what is None
            the shape's default holds.

    >>> height("linear", done=0.25, epoch=3)
    0.75
    """
    return get_shape(name)(**{k: known[k] for k in needs(name) if known.get(k) is not None})


def schedulers() -> list[str]:
    """The values of `--scheduler`: each shape, each shape behind a warm-up, and `reduce`."""
    return [*NAMES, *with_warmup(), FOLLOWS_LOSS]


def with_warmup() -> tuple[str, ...]:
    """The values of `--scheduler` that begin with a warm-up."""
    return tuple(WARM + name for name in NAMES)


def warms_up(scheduler: str | Shape) -> bool:
    """Whether a scheduler begins with a warm-up, as one of your own always does.

    >>> warms_up("warmup_cosine"), warms_up("step"), warms_up("mine.shapes:triangle")
    (True, False, True)
    """
    return callable(scheduler) or scheduler.startswith(WARM) or ":" in scheduler


def shape_of(scheduler: str | Shape) -> str | Shape:
    """The shape of a scheduler, without its warm-up."""
    if callable(scheduler) or ":" in scheduler:
        return scheduler
    return scheduler.removeprefix(WARM)


def falls_to_zero(scheduler: str | Shape) -> bool:
    """Whether a scheduler is a function of `done`, the part of its way, and so ends at 0.

    >>> falls_to_zero("warmup_cosine"), falls_to_zero("step"), falls_to_zero("reduce")
    (True, False, False)
    """
    return scheduler != FOLLOWS_LOSS and "done" in needs(shape_of(scheduler))


def default_of(scheduler: str, option: str) -> Any:
    """The default of an option of a scheduler of this folder; None where it has none.

    >>> default_of("warmup_exponential", "lr_decay_rate"), default_of("reduce", "lr_decay_rate")
    (0.95, None)
    """
    shape = scheduler.removeprefix(WARM)
    if shape not in NAMES or option not in needs(shape):
        return None
    return inspect.signature(get_shape(shape)).parameters[option].default


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
        shape: one of `shapes()`, or one of your own that asks for `done` alone.

    >>> s = Schedule(start=0.0, end=1.0, steps=4)
    >>> [round(s.at(step, 100), 3) for step in (0, 1, 2, 4, 50)]
    [0.0, 0.146, 0.5, 1.0, 1.0]
    """

    start: float
    end: float | None = None
    steps: int | None = None
    after: int = 0
    shape: str | Shape = "cosine"

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
    shape, number = r"\w+|[\w.]+:[A-Za-z_]\w*", r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
    found = re.fullmatch(rf"(\w+)=({shape}):{number}(?::([1-9]\d*))?", word)
    if not found:
        raise ValueError(f"--schedule {word} is not of the form {FORM}")
    name, shape, end, steps = found.groups()
    if ":" not in shape and shape not in shapes():
        raise ValueError(f"--schedule {word}: the shape must be one of {', '.join(shapes())}")
    return name, shape, float(end), int(steps) if steps else None
