"""Types of options with their bounds, which the command line checks: `hidden_mlp: Count = 2048`."""

from typing import Annotated, Literal, NamedTuple, TypeVar


class Bounds(NamedTuple):
    """What a number may be: from `low` to `high`, included, and between `above` and `below`.

    A text has `holds` in it.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    holds: str | None = None


Count = Annotated[int, Bounds(low=1)]  # of things: one, two, ...
Width = Annotated[int, Bounds(low=0)]  # of a hidden layer; 0: there are no layers
Steps = Annotated[int, Bounds(low=0)]  # optimizer steps
Share = Annotated[float, Bounds(low=0, high=1)]  # of a whole
Decay = Annotated[float, Bounds(above=0, high=1)]  # what multiplies again and again
PartialShare = Annotated[float, Bounds(low=0, below=1)]  # of a whole, but not all of it
Positive = Annotated[float, Bounds(above=0)]  # what divides, such as a temperature
NonNegative = Annotated[float, Bounds(low=0)]  # a weight
Template = Annotated[str, Bounds(holds="{}")]  # of a text about a class, whose name stands there
T = TypeVar("T")
NO_FLAG = "no flag"
FromPython = Annotated[T, NO_FLAG]  # an option that the command line does not have
Learn = Literal["nothing", "temperature", "bias", "both"]  # scalars of a loss
Mining = Literal["all", "semi_hard", "hard"]  # which other samples are negatives
