"""What the parts share: a table that is printed and saved row by row, and a clock for devices."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

WIDTH = 100  # characters of a line of the tables


@dataclass
class Table:
    """A part's result, in its file after every row, so that a part that hangs loses none.

    Args:
        name: of the part, and of its file.
        title: what the numbers are, with units.
        columns: their heads.
    """

    file: Path
    name: str
    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)

    def row(self, *cells: object) -> None:
        self.rows.append([f"{c:,.1f}" if isinstance(c, float) else str(c) for c in cells])
        print(f"[{self.name}] " + "  ".join(self.rows[-1]), flush=True)
        self.save()

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"[{self.name}] {text}", flush=True)
        self.save()

    def check(self, what: str, holds: bool) -> None:
        """A check that does not hold makes the whole command fail."""
        if not holds:
            self.failed.append(what)
            print(f"[{self.name}] FAILED: {what}", flush=True)
        self.save()

    def value(self, name: str, number: float) -> None:
        """A number for the parts that come later."""
        self.values[name] = number
        self.save()

    def save(self) -> None:
        made = {k: v for k, v in asdict(self).items() if k != "file"}
        self.file.write_text(json.dumps(made, indent=1) + "\n")


@dataclass(frozen=True)
class Given:
    """What every part is given."""

    out: Path
    seconds: float
    rehearse: bool
    data: Path | None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearse else "cuda")

    def table(self, title: str, *columns: str) -> Table:
        """This part's, named as its module."""
        import __main__

        name = Path(__main__.__file__).stem
        return Table(self.out / f"{name}.json", name, title, list(columns))

    def known(self, part: str) -> dict[str, float]:
        """The values of an earlier part; none if it did not come so far."""
        file = self.out / f"{part}.json"
        return json.loads(file.read_text())["values"] if file.exists() else {}


def given() -> Given:
    """The part's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--data", type=Path)
    return Given(**vars(parser.parse_args()))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def milliseconds(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median time of a call, measured by the device's own events, for so many seconds."""
    for _ in range(3):
        run()
    synchronize(device)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        taken.append(once(run, device))
    return statistics.median(taken)


def once(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call."""
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1e3
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    run()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)
