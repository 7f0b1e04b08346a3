"""`python -m cl.report RUN ... --out report.html`: one page of runs, or of a comparison."""

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cl.config import Pretrain
from cl.report import comparison, write_charts, write_report
from cl.runs.__main__ import WRONG, Parser
from cl.runs.listing import Listed, find_runs, one_run
from cl.terminal import escape_controls, one_line, write_warning


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; the exit code."""
    parser = Parser(prog="python -m cl.report", description=__doc__)
    home = Pretrain(dataset="", encoder="").runs_folder
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="its folder, or its name in --output"
    )
    parser.add_argument("--output", type=Path, default=home, metavar="PATH", help="folder of runs")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write each chart as a PNG too")
    asked = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = write_warning
        try:
            runs, table = runs_named(asked.runs, asked.output)
            write_report(runs, asked.out, table)
            plots = write_charts(runs, asked.png, table) if asked.png else []
        except ValueError as error:
            sys.stderr.write(f"error: {one_line(error)}\n")
            return WRONG
        except OSError as error:
            of_png = asked.png and str(error.filename).startswith(str(asked.png))
            where = f"--png {asked.png}" if of_png else f"--out {asked.out}"
            said = one_line(f"{where} cannot be written: {error.strerror}")
            sys.stderr.write(f"error: {said}\n")
            return WRONG
    sys.stdout.write(f"{escape_controls(asked.out)}  {asked.out.stat().st_size / 1e6:.2f} MB\n")
    sys.stdout.writelines(f"{escape_controls(file)}\n" for file in plots)
    return 0


def runs_named(words: Sequence[str], root: Path) -> tuple[list[Listed], dict[str, Any] | None]:
    """The runs that words name, or the cells of a comparison and its table.

    Raises:
        ValueError: one of them is neither, or a comparison stands beside others.
    """
    folders = [each for word in words for each in (root / word, Path(word))]
    tables = [folder for folder in folders if (folder / comparison.TABLE).exists()]
    if not tables:
        return named_apart([one_run(word, root) for word in dict.fromkeys(words)]), None
    if words[1:]:
        raise ValueError(f"{tables[0]} is a comparison, which has a page of its own")
    return find_runs(tables[0]), comparison.read_table(tables[0])


def named_apart(runs: list[Listed]) -> list[Listed]:
    """The runs, by their folders where two have the same name."""
    count = Counter(run.name for run in runs)
    return [run if count[run.name] == 1 else replace(run, name=str(run.folder)) for run in runs]


if __name__ == "__main__":
    sys.exit(main())
