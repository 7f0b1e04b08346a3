"""The CPU section of docs/performance.md, made of what `python -m benchmarks` has kept."""

import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ratios import Ratio, number, processor
from cl.versions import versions

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
RESULTS = PAGE.with_name("on_cpu.json")
FIRST, LAST = "<!-- made by python -m benchmarks -->", "<!-- end of it -->"
HEADS = ("case", "peer", "theirs", "ours", "ours is times (middle half)", "n", "floor")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One script's ratios, and where they were measured.

    Args:
        script: its name.
        day: when.
        processor: its name, and how many cores there are.
        versions: of the libraries.
        seconds: of the whole script.
        ratios: in its order.
    """

    script: str
    day: str
    processor: str
    versions: dict[str, str]
    seconds: float
    ratios: list[Ratio]

    @classmethod
    def measured(cls, script: str, ratios: list[Ratio], seconds: float) -> "Part":
        """On this machine, today."""
        return cls(
            script=script,
            day=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            processor=f"{processor()}, {os.cpu_count()} cores",
            versions=versions(),
            seconds=round(seconds),
            ratios=ratios,
        )

    def section(self) -> list[str]:
        """As Markdown."""
        known = ", ".join(f"{name} {v}" for name, v in self.versions.items())
        text = [f"`python -m benchmarks {self.script}`, {self.day}, {self.processor}, {known}:", ""]
        for table in dict.fromkeys(each.table for each in self.ratios):
            text += [f"### {table}", "", f"| {' | '.join(HEADS)} |", "| --- " * len(HEADS) + "|"]
            text += [row(each) for each in self.ratios if each.table == table] + [""]
        return text


def row(of: Ratio) -> str:
    """A line of a table."""
    cells = [of.case, of.peer]
    cells += [f"{number(x)} {of.unit}" for x in (of.theirs, of.ours)]
    cells += [f"**{of.times:.2f}** ({of.low:.2f} to {of.high:.2f})", str(of.rounds)]
    cells.append("" if of.floor is None else f"{of.floor:g}")
    return f"| {' | '.join(cells)} |"


def known(file: Path) -> list[Part]:
    """What was kept; nothing before the first time."""
    if not file.exists():
        return []
    parts = json.loads(file.read_text())
    return [Part(**part | {"ratios": [Ratio(**r) for r in part["ratios"]]}) for part in parts]


def keep(file: Path, parts: Iterable[Part]) -> None:
    file.write_text(json.dumps([asdict(part) for part in parts], indent=1) + "\n")


def made(parts: Iterable[Part]) -> str:
    """What stands between the marks."""
    return "\n".join([FIRST, "", *(line for part in parts for line in part.section()), LAST])


def write() -> None:
    """Write the section anew."""
    text = PAGE.read_text()
    before, _, rest = text.partition(FIRST)
    PAGE.write_text(before + made(known(RESULTS)) + rest.partition(LAST)[2])


if __name__ == "__main__":
    write()
