"""Ours beside peers on this machine's CPU, with a floor for the ratios: `make bench`.

    python -m benchmarks [NAME ...] [--out FOLDER]

Runs each script of this folder that yields ratios (or those named), in a process of its own and
one after the other; prints a line for each ratio, keeps them in FOLDER/on_cpu.json and writes the
CPU section of docs/performance.md anew (where FOLDER is docs, which it is by default). A ratio
below its floor makes the exit code 1. Nothing else should run meanwhile.
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

from benchmarks import page
from benchmarks.ratios import measure, read

FOLDER = Path(__file__).parent
MARK = "def ratios("


def scripts() -> list[str]:
    """The scripts that yield ratios, by name."""
    return sorted(file.stem for file in FOLDER.glob("[a-z]*.py") if MARK in file.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(scripts()))
    parser.add_argument("--out", type=Path, default=page.RESULTS.parent)
    given = parser.parse_args()
    if unknown := {*given.names} - {*scripts()}:
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(scripts())}")
    given.out.mkdir(parents=True, exist_ok=True)
    results = given.out / page.RESULTS.name
    before = {each.script: each for each in page.known(results)}
    failed: list[str] = []
    for name in given.names or scripts():
        print(f"== {name}", flush=True)
        part, start = given.out / f"{name}.part.json", time.monotonic()
        part.unlink(missing_ok=True)  # of a command that was ended
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, part))
        process.start()
        process.join()
        found = read(part) if part.exists() else []
        part.unlink(missing_ok=True)
        if process.exitcode:
            failed.append(f"{name}: exit code {process.exitcode}")
        failed += [f"{each.case}, {each.peer}" for each in found if not each.holds]
        if found:
            before[name] = page.Part.measured(name, found, time.monotonic() - start)
        page.keep(results, before.values())
    if results == page.RESULTS:
        page.write()
    print("\n".join(f"FAILED: {what}" for what in failed) or "every ratio is above its floor")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
