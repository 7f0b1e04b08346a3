"""Nearest neighbors and logistic regression of as many features as ImageNet's, and their memory.

    python benchmarks/imagenet_sized.py [--images 20000] [--width 256] [--classes 100]
        [--queries 1000] [--iterations 20] [--folder .] [--eval knn logistic]

Of ImageNet's size are `--images 1281167 --width 2048 --classes 1000`: 10.5 GB in `--folder`, which
are deleted in the end. Features are made: a mean for each class, and noise. Each evaluation is a
process of its own, with the allocator and the map of a file that it has in main_linear.py. Printed
are the plan, the peak of the memory that the process has for itself (without the pages of the file,
which the system keeps while nobody else needs them), CPU time, whether the optimum was reached, and
of a subset how many answers are scikit-learn's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cl.checkpoints.space import say_bytes
from cl.eval import get_evaluation
from cl.eval import logistic as regression
from cl.eval._result import EvalResult, Features
from cl.hardware import keep_memory

NAMES, BLOCK, SUBSET, C = ("knn", "logistic"), 8192, (4000, 1000), 1.0
PEAK = "RssAnon:"


def make(folder: Path, given: argparse.Namespace) -> None:
    """Write features and labels of both parts."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((given.classes, given.width), dtype=np.float32)
    for name, n in (("train", given.images), ("test", given.queries)):
        labels = rng.integers(0, given.classes, n)
        np.save(folder / f"{name}.labels.npy", labels)
        shape = n, given.width
        h = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for i in range(0, n, BLOCK):
            part = labels[i : i + BLOCK]
            noise = rng.standard_normal((len(part), given.width), dtype=np.float32)
            h[i : i + BLOCK] = 4 / given.width**0.5 * means[part] + noise
        h.flush()


def load(folder: Path, name: str) -> Features:
    with warnings.catch_warnings():  # that the map is not writable
        warnings.simplefilter("ignore")
        h = torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return h, torch.from_numpy(np.load(folder / f"{name}.labels.npy"))


def own_memory() -> int:
    """Bytes of this process that are no pages of a file."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(x for x in status.splitlines() if x.startswith(PEAK)).split()[1])


def with_peak(work: Callable[[], EvalResult]) -> tuple[EvalResult, int]:
    """What some work gives, and the most memory that it added."""
    before, most, done = own_memory(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], own_memory() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return work(), most[0]
    finally:
        done.set()
        thread.join()


def measure(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Time, memory and top-1 of an evaluation of all features."""
    keep_memory()
    train, test = load(folder, "train"), load(folder, "test")
    function, flags = get_evaluation(name), {}
    plan = get_evaluation(name, "working_memory")
    asked = {"knn": {"k": (20,), "knn_temperature": (0.07,)}, "logistic": {"c": (C,)}}[name]
    flags |= asked
    regression.ITERATIONS = given.iterations
    start, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as said:
        found, peak = with_peak(lambda: function(train, test, given.classes, **flags))
    return {
        "planned": plan(given.images, given.queries, given.width, given.classes, **asked),
        "peak": peak,
        "cpu": time.process_time() - cpu,
        "seconds": time.perf_counter() - start,
        "top1": found.numbers["top1"],
        "iterations": found.how.get("iterations"),
        "optimum": not said,  # else it warns
    }


def agreement(name: str, folder: Path, classes: int) -> float:
    """The share of a subset's answers that are scikit-learn's."""
    parts = [load(folder, part) for part in ("train", "test")]
    (h, labels), (queries, right) = [
        (x[:n].clone(), y[:n]) for (x, y), n in zip(parts, SUBSET, strict=True)
    ]
    ours = get_evaluation(name)((h, labels), (queries, right), classes).predictions
    assert ours is not None

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp(-distances / 0.07)

    by_weight: Any = weights
    theirs = {
        "knn": KNeighborsClassifier(20, weights=by_weight, metric="cosine", algorithm="brute"),
        "logistic": make_pipeline(
            StandardScaler(), LogisticRegression(C=C, tol=1e-6, max_iter=5000)
        ),
    }[name]
    theirs.fit(h.numpy(), labels.numpy())
    return float((theirs.predict(queries.numpy()) == ours[:, 1].numpy()).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluations of features of ImageNet's size.")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--eval", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--measure", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.folder, given)))
        return
    size = (
        f"{given.images:,} x {given.width:,}, {given.classes:,} classes, {given.queries:,} queries"
    )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads: {size}", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        make(Path(place), given)
        for name in given.eval:
            words = [sys.executable, __file__, *sys.argv[1:], "--folder", place, "--measure", name]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            reached = "to the optimum" if found["optimum"] else "not to the optimum"
            steps = f", {found['iterations']} iterations {reached}" if found["iterations"] else ""
            print(
                f"{name}: planned {say_bytes(found['planned'])}, peak {say_bytes(found['peak'])}, "
                f"{found['cpu']:,.0f} s of CPU time in {found['seconds']:,.0f} s{steps}, top-1 "
                f"{found['top1']:.2%}; of {SUBSET[0]:,} images and {SUBSET[1]:,} queries "
                f"{agreement(name, Path(place), given.classes):.2%} of the answers are "
                "scikit-learn's",
                flush=True,
            )


if __name__ == "__main__":
    main()
