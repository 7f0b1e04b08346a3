"""SimCLR on the CPU: ours under Lightning, a bare loop, lightly's transform, head and loss.

    python -m benchmarks.training [--rounds 3] [--seconds 10] [--only tiny small ...]

Samples (of two views) a second of training steps, behind a few that warm up; validation is no part
of them. Ours trains as main_contrastive.py does, with probe, collapse measures, checkpoints and
memory that is kept from step to step; all have the same network, momentum SGD by torch's fused
kernel, precision, layout and memory. One bare loop has its views already and the formula with the
whole matrix; another one computes what ours does, views, probe and loss, without Lightning and its
callbacks. lightly's has its pipeline in the first loop, on as many worker processes as there are
cores. Its documented example, in a process of its own, has the precision of all alone: torch's
usual layout, an SGD that is not fused, a forward pass for each view and glibc's usual allocator.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu.experiment import (
    Bare,
    Case,
    Documented,
    Rate,
    bare,
    lightlys,
    ours,
    quiet,
    without_trainer,
)
from benchmarks.photographs import photographs
from benchmarks.ratios import Ratio, by_turns
from cl import hardware
from cl.data.sets import Images, in_files

TABLE = "SimCLR, training steps"
DEVICE = torch.device("cpu")
BARE, PEER = "bare loop, views given", "lightly's pipeline"
EXAMPLE = "lightly's documented example, at this precision"
SAME = "bare loop, the same views, probe and loss"


@dataclass(frozen=True)
class Sized(Case):
    """A case of this machine.

    Args:
        warm: steps before the clock starts.
        every: steps between two looks at it.
        floors: by peer.
        jpegs: whether images are files.
    """

    warm: int = 3
    every: int = 1
    floors: tuple[tuple[str, float], ...] = ()
    jpegs: bool = False

    def made(self) -> Images:
        """In memory, or as JPEGs of photographs."""
        return in_files(photographs(self.images)) if self.jpegs else super().made()


CASES = {
    "tiny": Sized(
        *("resnet6_w16, 32 px, batch 64", "resnet6_w16", 32, 64, 50_000),
        *(20, 20, ((BARE, 0.65), (PEER, 3.0), (EXAMPLE, 3.0))),
    ),
    "small": Sized(
        *("resnet6_w32, 32 px, batch 256", "resnet6_w32", 32, 256, 50_000),
        *(3, 2, ((PEER, 2.2), (EXAMPLE, 2.2))),
    ),
    "resnet18": Sized(
        *("ResNet-18, 32 px, batch 256", "resnet18", 32, 256, 50_000),
        *(1, 1, ((BARE, 0.9), (PEER, 0.9), (EXAMPLE, 1.0))),
    ),
    "jpeg": Sized(
        *("ResNet-18, 224 px, batch 32", "resnet18", 224, 32, 320),
        *(1, 2, ((PEER, 0.9), (EXAMPLE, 1.0)), True),
    ),
}


def mine(case: Sized, seconds: float) -> float:
    rate = Rate(seconds, DEVICE, case.warm, case.every)
    with tempfile.TemporaryDirectory() as folder:
        ours(case, Path(folder), [rate], rehearse=True, workers=os.cpu_count() or 1)
    return rate.images


def alike(case: Sized, seconds: float) -> float:
    return without_trainer(case, seconds, DEVICE, os.cpu_count() or 1, case.warm, case.every)


def theirs(case: Sized, seconds: float, of: type[Bare] = Bare) -> float:
    workers = os.cpu_count() or 1
    found = lightlys(case, seconds, DEVICE, workers, case.warm, case.every, of)
    assert found is not None
    return found


def example(name: str, seconds: float) -> float:
    """The documented example of lightly, in a process with the allocator as it is by default."""
    words = [sys.executable, "-m", "benchmarks.training", "--example", name]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [*words, "--seconds", str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def ratios(
    only: Sequence[str] = (*CASES,), rounds: int = 3, seconds: float = 10
) -> Iterator[Ratio]:
    """Each case against the bare loop and, where it is installed, lightly."""
    quiet()
    warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
    hardware.keep_memory()  # as main_contrastive.py does
    for name in only:
        case = CASES[name]
        runs = {"ours": lambda case=case: mine(case, seconds)}
        if not case.jpegs:
            runs[BARE] = lambda case=case: bare(case, seconds, DEVICE, case.warm, case.every)
            runs[SAME] = lambda case=case: alike(case, seconds)
        if find_spec("lightly"):
            runs[PEER] = lambda case=case: theirs(case, seconds)
            runs[EXAMPLE] = lambda name=name: example(name, seconds)
        floors = dict(case.floors)
        yield from by_turns(TABLE, case.name, "samples/s", runs, rounds, floors, warm=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--example", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.example:
        quiet()
        print(theirs(CASES[given.example], given.seconds, Documented))
        return
    for ratio in ratios(given.only, given.rounds, given.seconds):
        print(ratio.line(), flush=True)


if __name__ == "__main__":
    main()
