"""Losses as in `loss`, with glibc's allocator as it is by default, and their peak memory.

    python -m benchmarks.loss_by_default [--alone 65536]

A script of one's own has it so: memory that a step frees goes back to the kernel, and what the next
one takes is faulted in anew, of which a matrix of all pairs takes most. A peak is that beyond what
was there before. The largest size is ours alone: others would need tens of gigabytes.
"""

import argparse
import ctypes
import gc
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.formulas import FORMULAS
from benchmarks.loss import CORRELATED, SIZES, Loss, case, compare, entrants, milliseconds
from benchmarks.ratios import Ratio, by_turns

HEAVY, LARGE = 1024, 16384  # embeddings, from which the allocator shows, and memory is compared
TABLE = "Losses, forward and backward, float32, d 128, glibc's allocator as it is by default"
MEMORY = "Losses, peak memory of a forward and backward"


def status(field: str) -> float:
    """A line of /proc/self/status in MB."""
    line = next(x for x in Path("/proc/self/status").read_text().split("\n") if x.startswith(field))
    return int(line.split()[1]) / 1024


def megabytes(loss: Loss, z: Tensor) -> float:
    """Peak of a forward and backward, beyond what was there."""
    z.grad = None
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    before = status("VmRSS")
    loss(z).backward()
    return status("VmHWM") - before


def ratios() -> Iterator[Ratio]:
    """Every loss of the larger sizes beside its formula and lightly's: time and memory."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    for name, rows in product(FORMULAS, SIZES):
        if rows >= HEAVY:
            yield from compare(name, rows, TABLE)
        if rows >= LARGE and name not in CORRELATED:  # which have no matrix of pairs
            runs, z = entrants(name, rows)
            peaks = {who: partial(megabytes, loss, z) for who, loss in runs.items()}
            yield from by_turns(MEMORY, case(name, rows), "MB", peaks, 1, {"formula": 5.0}, 0)


def alone(name: str, rows: int) -> str:
    """A size that no peer reaches."""
    runs, z = entrants(name, rows)
    taken, peak = milliseconds(runs["ours"], z), megabytes(runs["ours"], z)
    return f"{name}, {rows:,} embeddings: ours {taken:,.0f} ms, {peak:,.0f} MB, n=1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=int, default=65536, metavar="ROWS")
    given = parser.parse_args()
    for ratio in ratios():
        print(ratio.line(), flush=True)
    for name in FORMULAS:
        print(alone(name, given.alone), flush=True)


if __name__ == "__main__":
    main()
