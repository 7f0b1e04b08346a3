"""Numbers that change while training: closed forms of the optimizer's step.

So they need no state, resume exactly, and can be drawn before a run.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """`start` before the step `begin`, then half a cosine to `end` within `steps`, then `end`.

    Args:
        start: the first value.
        end: the last one; None stands still.
        begin: the step at which it starts to move.
        steps: how many it takes; None is the rest of the run.
        every: it moves only at multiples of so many steps.

    >>> s = Schedule(start=0.0, end=1.0, begin=2, steps=4)
    >>> [round(s.at(step, 100), 3) for step in (0, 2, 3, 4, 6, 50)]
    [0.0, 0.0, 0.146, 0.5, 1.0, 1.0]
    """

    start: float
    end: float | None = None
    begin: int = 0
    steps: int | None = None
    every: int = 1

    def at(self, step: int, total: int) -> float:
        """The value at an optimizer step of a run of `total` steps."""
        if self.end is None:
            return self.start
        step = step // self.every * self.every
        length = max(1, total - self.begin if self.steps is None else self.steps)
        done = min(max(step - self.begin, 0) / length, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2
