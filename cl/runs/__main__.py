"""`python -m cl.runs`: list runs, show one, compare two, delete some; no torch is loaded."""

import argparse
import json
import math
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl.config import Linear, Pretrain
from cl.config.program import Parser, refuse
from cl.config.schema import options_of, spell
from cl.runs import listing
from cl.runs.choosing import select_runs, sort_runs
from cl.runs.columns import fit_columns, terminal_width
from cl.runs.listing import Listed
from cl.runs.lock import check_owner
from cl.terminal import escape_controls, write_warning

WRONG = 2  # the exit code of a command that cannot be carried out as it stands
HEAD = ("run", "state", "started", "what", "data", "encoder", "epochs", "probe", "kNN", "linear")
# In this order, where a terminal is too narrow.
LEFT_OUT = ("encoder", "started", "data", "epochs", "what", "linear", "kNN", "probe", "state")


def parser() -> Parser:
    """The subcommands and their flags."""
    made = Parser(prog="python -m cl.runs", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser)
    helps = {
        "list": "the runs, newest first",
        "show": "a run: what it reached, the settings that are not the defaults, its files",
        "diff": "what differs between two runs",
        "delete": "delete runs with all their files; asks before it does",
    }
    subcommands = {name: commands.add_parser(name, help=text) for name, text in helps.items()}
    for each in subcommands.values():
        default = Path(Pretrain(dataset="", encoder="").runs_folder)
        each.add_argument(
            "--output",
            type=Path,
            default=default,
            metavar="PATH",
            help=f"folder of runs ({default})",
        )
        if each is not subcommands["delete"]:
            each.add_argument("--json", action="store_true", help="print data instead of text")
    where = 'e.g. loss=dcl "epochs>=50" "linear>90%%": settings, numbers and state'
    subcommands["list"].add_argument(
        "--where", nargs="+", default=[], metavar="CONDITION", help=where
    )
    subcommands["list"].add_argument("--sort", metavar="NAME", help="any of these, largest first")
    subcommands["show"].add_argument("runs", nargs=1, metavar="RUN", help="its name or folder")
    subcommands["diff"].add_argument("runs", nargs=2, metavar="RUN")
    subcommands["delete"].add_argument("runs", nargs="+", metavar="RUN")
    subcommands["delete"].add_argument("--yes", action="store_true", help="delete without asking")
    subcommands["delete"].add_argument(
        "--take_over",
        action="store_true",
        help="also what a process of another machine has, which must have ended",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Carry a command out; its exit code."""
    asked = parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = write_warning
        try:
            return COMMANDS[asked.command](asked)
        except BrokenPipeError:  # `| head` has enough
            sys.stderr.close()
            return 0
        except Exception as error:
            return refuse(error)


def list_runs(asked: argparse.Namespace) -> int:
    """Print the runs, a line each."""
    runs = select_runs(listing.find_runs(asked.output), asked.where)
    runs = sort_runs(runs, asked.sort) if asked.sort else runs
    if asked.json:
        return print_json([run.to_json() for run in runs])
    if not runs:
        write_line(f"no such run in {asked.output}" if asked.where else f"no run in {asked.output}")
        return 0
    sorted_by = asked.sort and asked.sort not in HEAD
    head = (*HEAD, asked.sort) if sorted_by else HEAD
    more = [[spell(run.values.get(asked.sort, ""))] if sorted_by else [] for run in runs]
    rows = [head, *([*columns_of(run), *end] for run, end in zip(runs, more, strict=True))]
    width = terminal_width()
    print_table(rows if width is None else fit_columns(escaped(rows), width, LEFT_OUT))
    return 0


def columns_of(run: Listed) -> list[str]:
    """A run as a line of the list."""
    settings = run.settings
    what = f"eval {spell(settings.get('eval', ''))}" if run.evaluates else describe(settings)
    what = "mine negatives" if settings.get("mine") else what
    epochs = "" if run.evaluates else f"{run.epochs_done}/{run.epochs_shown}"
    found = map(run.numbers.get, ("probe", "knn", "linear"))
    reached = ["" if share is None else f"{100 * share:.1f} %" for share in found]
    about = [str(settings.get(name, "")) for name in ("dataset", "encoder")]
    return [run.name, run.state, f"{run.started:%Y-%m-%d %H:%M}", what, *about, epochs, *reached]


def describe(settings: dict[str, Any]) -> str:
    """Method and loss, which are one word where the method has a loss of its own."""
    return " ".join(dict.fromkeys(str(settings.get(name, "")) for name in ("method", "loss")))


def show_run(asked: argparse.Namespace) -> int:
    """Print all of a run."""
    run = listing.one_run(asked.runs[0], asked.output)
    files = {f.name: f.stat().st_size for f in sorted(run.folder.iterdir()) if f.is_file()}
    if asked.json:
        return print_json(run.to_json() | {"result": run.result, "files": files})
    write_line(f"{run.folder}: {run.state}, started {run.started:%Y-%m-%d %H:%M}, {run.program}.py")
    of = Linear if run.evaluates else Pretrain
    defaults = {name: as_json(option.default) for name, option in options_of(of).items()}
    changed = {k: v for k, v in run.settings.items() if v != defaults.get(k)}
    for title, content in (
        ("reached", {k: f"{v:.6g}" for k, v in run.numbers.items()}),
        ("settings that are not the program's defaults", changed),
        ("files", {name: f"{count:,} bytes" for name, count in files.items()}),
    ):
        write_line("")
        write_line(title)
        print_table([[f"  {name}", spell(value)] for name, value in content.items()])
    return 0


def diff_runs(asked: argparse.Namespace) -> int:
    """Print what differs between two runs: settings, then numbers."""
    a, b = (listing.one_run(word, asked.output) for word in asked.runs)
    settings = differences(a.settings, b.settings)
    settings.pop("run_id", None)  # which is their name
    numbers = differences(a.numbers, b.numbers)
    if asked.json:
        return print_json({"settings": settings, "numbers": numbers})
    if not settings:
        write_line("all settings are equal")
    rows = [[name, *map(spell, both)] for name, both in settings.items()]
    rows += [[name, *map(shorten, both)] for name, both in numbers.items()]
    print_table([["", a.name, b.name], *rows])
    return 0


def differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    """What each of two has under a name where they differ, None where one has nothing."""
    names = dict.fromkeys((*a, *b))
    return {k: [a.get(k), b.get(k)] for k in names if repr(a.get(k)) != repr(b.get(k))}


def delete_runs(asked: argparse.Namespace) -> int:
    """Delete runs, all of them or none."""
    runs = [listing.one_run(word, asked.output) for word in dict.fromkeys(asked.runs)]
    for run in runs:
        if run.state == "running":
            raise ValueError(f"{run.name} is running; nothing was deleted")
        try:
            check_owner(run.folder, asked.take_over)
        except ValueError as error:
            raise ValueError(f"{error}; nothing was deleted") from None
        if run.folder.is_symlink():
            raise ValueError(f"{run.folder} is a link to another folder; nothing was deleted")
        if inside := next(listing.runs_in(run.folder, run.folder), None):
            raise ValueError(f"{run.folder} holds the run {inside.name} too; nothing was deleted")
    for run in runs:
        write_line(f"{run.folder}  {run.state}  {listing.size(run.folder) / 2**20:,.1f} MiB")
    if not asked.yes and not confirm(f"Delete {len(runs)} run{'s' * (len(runs) > 1)}? [y/N] "):
        write_line("nothing was deleted")
        return 0
    for run in runs:
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            raise ValueError(f"{run.folder} cannot be deleted: {error}") from None
    return 0


def confirm(question: str) -> bool:
    """Ask the user.

    Raises:
        ValueError: nobody can answer.
    """
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        raise ValueError("nobody answered; --yes deletes without asking") from None


def shorten(value: object) -> str:
    """A number with as many digits as are read."""
    return f"{value:.6g}" if isinstance(value, float) else spell(value)


def as_json(value: Any) -> Any:
    """A default as JSON would have it."""
    return list(value) if isinstance(value, tuple) else value


def write_line(line: str) -> None:
    """Print a line, in which names stay text."""
    sys.stdout.write(f"{escape_controls(line)}\n")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    rows = escaped(rows)
    if rows:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for each in rows:
            cells = (cell.ljust(width) for cell, width in zip(each, widths, strict=True))
            write_line("  ".join(cells).rstrip())


def escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows in which names are text, as wide as they are printed."""
    return [[escape_controls(cell) for cell in each] for each in rows]


def print_json(content: Any) -> int:
    """Print JSON as every reader takes it: a number that is not finite is null."""
    say_json = json.dumps(finite(content), indent=2, allow_nan=False)
    sys.stdout.write(say_json + "\n")
    return 0


def finite(content: Any) -> Any:
    """The same without NaN and infinities."""
    if isinstance(content, dict):
        return {k: finite(v) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [finite(v) for v in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


COMMANDS = {"list": list_runs, "show": show_run, "diff": diff_runs, "delete": delete_runs}

if __name__ == "__main__":
    sys.exit(main())
