"""What a long run takes more of from minute to minute: `python -m tests.faults.soak --minutes 30`.

A pretraining on digits that saves a checkpoint every three seconds is watched: its memory, threads,
open files, and its folder without the rows of metrics.csv, which are the numbers that it is for.
Memory is counted twice. What is in use is malloc's own count of what was asked for and not freed,
over all of its arenas, which the run itself writes down: it is what a leak adds to. Anonymous pages
are what the kernel has given for it. glibc keeps them (`cl.hardware.keep_memory` has it reserve 64
MiB at a time), and one that is free is used for the first time whenever what is free elsewhere lies
in too small pieces: that number only rises, by a step now and then, and says so without a verdict.

The slope of each is a least-squares line through equal parts of the time, whose 95 % interval is
Student's: parts of a minute or more are as good as independent where samples are not. Of pages and
the folder a part has its mean; of what is in use, threads and files its least number, which is that
between two steps or writes: how many samples fall into one says how busy the machine is. There are
no transparent huge pages: the kernel makes them when it has the time, and counts what lies between
the pages that are used. The exit code is 1 where an interval does not contain zero.
"""

import argparse
import ctypes
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np
from scipy.stats import t as student

from cl.metrics import read_metrics

ROOT = Path(__file__).parents[2]
EVERY = 5.0  # seconds between two samples
BEGINNING = 0.15  # part of the time in which caches fill and threads of the start end; left out
END = 0.05  # likewise, in which the run ends
PARTS = 20
RUN = (
    "digits resnet6_w8 --epochs 1000000 --batch_size 64 --hidden_mlp 64 --encoding_size 32 "
    "--precision 32 --warmup_epochs 1 --no-baseline --no-report --wandb off "
    "--checkpoint_every 0.05 --checkpoint_unit minutes --log_every_n_steps 1000"
).split()
UNITS = {"in use": "MB", "pages": "MB", "threads": "", "open files": "", "folder": "MB"}
RISES = {"pages"}  # by what is said above
COUNT, LOOKS = "memory.txt", 50  # what is in use, in bytes, as the run writes it, of so many looks
THP_DISABLE = 41  # of prctl(2); children and programs that are executed keep it
LEAST = dict.fromkeys(("in use", "threads", "open files"), np.min)
OF_PART = dict.fromkeys(UNITS, np.mean) | LEAST


class Malloc(ctypes.Structure):
    """What mallinfo2(3) tells, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
        )
    )


def run_counted(file: Path, line: list[str]) -> None:
    """Be the program, and write down what is in use: the least of every `EVERY` seconds."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Malloc

    def count() -> None:
        waiting = file.with_suffix(".new")
        while True:
            least = sys.maxsize
            for _ in range(LOOKS):
                time.sleep(EVERY / LOOKS)
                found = mallinfo()
                least = min(least, found.uordblks + found.hblkhd)
            waiting.write_text(str(least))
            waiting.replace(file)

    Thread(target=count, daemon=True).start()
    sys.argv = line
    runpy.run_path(line[0], run_name="__main__")


def sample(process: int, folder: Path) -> list[float]:
    """The numbers of `UNITS` at this moment."""
    place, used = Path(f"/proc/{process}"), folder.with_name(COUNT)
    own = (place / "smaps_rollup").read_text().partition("\nAnonymous:")[2].split()[0]
    threads = len([*(place / "task").iterdir()])
    files = len([*(place / "fd").iterdir()])
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it was exchanged for a new one
            size += file.stat().st_size if file.name != "metrics.csv" else 0
    return [int(used.read_text()) / 1e6, int(own) / 1000, threads, files, size / 1e6]


def slope(
    times: np.ndarray, values: np.ndarray, of_part: Callable[..., float]
) -> tuple[float, float]:
    """The slope of a line through the numbers of the parts, and half of its 95 % interval.

    >>> x = np.arange(100.0)
    >>> rise, half = slope(x, 2 * x, np.mean)
    >>> round(rise, 6), half < 1e-9
    (2.0, True)
    """
    x = np.array([part.mean() for part in np.array_split(times, PARTS)])
    y = np.array([of_part(part) for part in np.array_split(values, PARTS)])
    centered = x - x.mean()
    rise = (centered @ y) / (centered @ centered)
    rest = y - y.mean() - rise * centered
    error = np.sqrt((rest @ rest) / (PARTS - 2) / (centered @ centered))
    return float(rise), float(student.ppf(0.975, PARTS - 2) * error)


def watch(minutes: float, place: Path) -> tuple[np.ndarray, list[dict[str, str]], int]:
    """Run for so many minutes; samples with their times in hours, the rows, and the exit code."""
    program = f"from tests.faults import soak; soak.run_counted(soak.Path({str(place)!r}) / "
    program += "soak.COUNT, soak.sys.argv[1:])"
    line = [sys.executable, "-c", program, str(ROOT / "main_contrastive.py"), *RUN]
    line += ["--max_time", str(minutes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    found, folder = [], place / "run"
    with (place / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*line, "--output", str(place), "--run_id", "run"],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(THP_DISABLE, 1, 0, 0, 0),
        )
        while not (folder / "last.ckpt").exists() and process.poll() is None:
            time.sleep(0.2)
        began = time.monotonic()
        while process.poll() is None:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                found.append([(time.monotonic() - began) / 3600, *sample(process.pid, folder)])
            time.sleep(EVERY)
    return np.array(found), read_metrics(folder / "metrics.csv"), process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=Path, help="write them there too, in hours")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it trains (30)")
    asked = parser.parse_args()
    minutes = asked.minutes
    with tempfile.TemporaryDirectory() as place:
        samples, rows, code = watch(minutes, Path(place))
        said = (Path(place) / "said.txt").read_text()
    if code != 75 or len(samples) < 2 * PARTS:  # 75: its time was over
        sys.stderr.write(f"{said}the run ended with code {code} after {len(samples)} samples\n")
        return 2
    if asked.samples:
        np.savetxt(asked.samples, samples, "%.6g", ",", header="hours,used,MB,threads,files,folder")
    kept = samples[int(len(samples) * BEGINNING) : int(len(samples) * (1 - END))]
    print(f"{len(kept)} samples of {minutes:g} minutes, {len(rows)} epochs")  # noqa: T201
    rises = 0
    for (name, unit), values in zip(UNITS.items(), kept.T[1:], strict=True):
        rise, half = slope(kept[:, 0], values, OF_PART[name])
        # below that it is rounding
        rises += name not in RISES and abs(rise) > max(half, 1e-9)
        head = f"{name}: {values.min():.6g} to {values.max():.6g} {unit}"
        print(f"{head}, {rise:+.4g} +- {half:.3g} {unit} an hour")  # noqa: T201
    return int(rises > 0)


if __name__ == "__main__":
    sys.exit(main())
