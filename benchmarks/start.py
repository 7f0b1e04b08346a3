"""How long the program takes to its first training step, and of what that is.

    python -m benchmarks.start [--rounds 5]

`main_contrastive.py digits resnet6_w16` in a process of its own, wandb offline as by default, the
untrained encoder measured, until the first step's loss is asked for; beside it the imports of torch
and of Lightning alone. Seconds of processor time, and by the clock.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ratios import Ratio, quartiles

ROOT = Path(__file__).parents[1]
RUN = """
import resource, sys, time
from cl.methods import simclr
def first(*_, **__):
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("first step", used.ru_utime + used.ru_stime, time.time(), flush=True)
    import os
    os._exit(0)
simclr.SimCLR.objective = first
from cl.commands import pretrain_command
sys.exit(pretrain_command(sys.argv[1:]))
"""
ALONE = """
import resource, time, {module}
used = resource.getrusage(resource.RUSAGE_SELF)
print("first step", used.ru_utime + used.ru_stime, time.time(), flush=True)
"""
FLOORS = {"torch": 0.2, "pytorch_lightning": 0.7}
WORDS = ("digits", "resnet6_w16", "--batch_size", "64")


def started(program: str, *words: str) -> tuple[float, float]:
    """Seconds of processor time and by the clock until a program says so."""
    with tempfile.TemporaryDirectory() as folder:
        more = ["--output", folder] if words else []
        environment = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"}
        start = time.time()
        command = [sys.executable, "-c", program, *words, *more]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, cwd=folder
        )
    line = next(x for x in done.stdout.splitlines() if x.startswith("first step"))
    used, then = (float(x) for x in line.split()[2:])
    return used, then - start


def ratios(rounds: int = 5) -> Iterator[Ratio]:
    """The start beside what the two libraries take alone."""
    programs = {"the program": (RUN, *WORDS)}
    programs |= {m: (ALONE.format(module=m),) for m in ("torch", "pytorch_lightning")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, (program, *words) in programs.items():
            taken = started(program, *words)
            if turn:  # the first one fills the disk's cache
                found[name].append(taken)
    ours = found.pop("the program")
    for peer, theirs in found.items():
        for i, what in enumerate(("processor time", "by the clock")):
            each = [b[i] / a[i] for a, b in zip(ours, theirs, strict=True)]
            low, times, high = quartiles(each)
            yield Ratio(
                table="First training step of digits, beside an import alone",
                case=f"resnet6_w16, {what}",
                peer=f"import {peer}",
                unit="s",
                ours=statistics.median(x[i] for x in ours),
                theirs=statistics.median(x[i] for x in theirs),
                times=times,
                low=low,
                high=high,
                rounds=rounds,
                floor=FLOORS[peer],
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    for ratio in ratios(parser.parse_args().rounds):
        print(ratio.line(), flush=True)


if __name__ == "__main__":
    main()
