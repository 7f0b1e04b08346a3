"""Numbers that change while training: closed forms of the optimizer's step.

So they need no state, resume exactly, and can be drawn before a run.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Half a cosine from `start` to `end` within `steps`, then `end`.

    Args:
        start: the first value.
        end: the last one; None stands still.
        steps: how many it takes; None is the rest of the run.
        after: before this step the value is 0, whatever the curve says.

    >>> s = Schedule(start=0.0, end=1.0, steps=4)
    >>> [round(s.at(step, 100), 3) for step in (0, 1, 2, 4, 50)]
    [0.0, 0.146, 0.5, 1.0, 1.0]
    """

    start: float
    end: float | None = None
    steps: int | None = None
    after: int = 0

    def at(self, step: int, total: int) -> float:
        """The value at an optimizer step of a run of `total` steps."""
        if step < self.after:
            return 0.0
        if self.end is None:
            return self.start
        length = max(1, total if self.steps is None else self.steps)
        done = min(step / length, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2
