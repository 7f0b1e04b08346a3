"""Ours beside a peer: both take turns in one process, and each round has a ratio of its own."""

import json
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

LESS = ("ms", "s", "MB")  # units of which less is better


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """What one peer was found to be beside ours.

    Args:
        table: what is compared.
        case: of it.
        peer: who.
        unit: of both numbers.
        ours: the median of the rounds.
        theirs: likewise.
        times: how many times as good ours is, the median of the rounds' ratios.
        low: their lower quartile.
        high: their upper one.
        rounds: how many.
        floor: below which `make bench` fails; None where the ratio is only told.
    """

    table: str
    case: str
    peer: str
    unit: str
    ours: float
    theirs: float
    times: float
    low: float
    high: float
    rounds: int
    floor: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is not below its floor."""
        return self.floor is None or self.times >= self.floor

    def line(self) -> str:
        """For a terminal."""
        floor = "" if self.floor is None else f", floor {self.floor:g}"
        return (
            f"{self.case:34} {self.peer:24} {number(self.theirs):>9} {self.unit}, ours "
            f"{number(self.ours):>9}  {self.times:6.2f} x ({self.low:.2f} to {self.high:.2f}, "
            f"n={self.rounds}{floor}){'' if self.holds else '  BELOW ITS FLOOR'}"
        )


def number(x: float) -> str:
    """Three digits, or all before the point.

    >>> number(0.12345), number(12.345), number(1234.5)
    ('0.123', '12.3', '1,234')
    """
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def quartiles(each: Sequence[float]) -> Sequence[float]:
    """The lower one, the median and the upper one; of one number itself.

    >>> quartiles([1.0, 2.0, 4.0]), quartiles([3.0])
    ([1.5, 2.0, 3.0], [3.0, 3.0, 3.0])
    """
    if len(each) == 1:
        return [*each] * 3
    return statistics.quantiles(each, n=4, method="inclusive")


def by_turns(
    table: str,
    case: str,
    unit: str,
    runs: Mapping[str, Callable[[], float]],
    rounds: int,
    floors: Mapping[str, float] | None = None,
    warm: int = 1,
) -> list[Ratio]:
    """Let `runs` take turns, and compare the first one with each other.

    Args:
        table: see `Ratio`.
        case: likewise.
        unit: of what a run returns; of a time or memory less is better, else more.
        runs: ours first, then the peers by name.
        rounds: how often each has its turn.
        floors: by peer.
        warm: turns of each before, which do not count.
    """
    found: dict[str, list[float]] = {who: [] for who in runs}
    for turn in range(warm + rounds):
        for who, run in runs.items():
            value = run()
            if turn >= warm:
                found[who].append(value)
    mine, *peers = found
    made = []
    for who in peers:
        pairs = zip(found[mine], found[who], strict=True)
        each = [b / a if unit in LESS else a / b for a, b in pairs]
        low, times, high = quartiles(each)
        made.append(
            Ratio(
                table=table,
                case=case,
                peer=who,
                unit=unit,
                ours=statistics.median(found[mine]),
                theirs=statistics.median(found[who]),
                times=times,
                low=low,
                high=high,
                rounds=rounds,
                floor=(floors or {}).get(who),
            )
        )
    return made


def processor() -> str:
    """Its name as the system has it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def save(ratios: Iterable[Ratio], file: Path) -> None:
    file.write_text(json.dumps([asdict(each) for each in ratios], indent=1) + "\n")


def read(file: Path) -> list[Ratio]:
    return [Ratio(**each) for each in json.loads(file.read_text())]


def measure(script: str, file: Path) -> None:
    """What a script of this folder yields, printed and kept after every ratio."""
    found: list[Ratio] = []
    for ratio in import_module(f"benchmarks.{script}").ratios():
        print(ratio.line(), flush=True)
        found.append(ratio)
        save(found, file)
