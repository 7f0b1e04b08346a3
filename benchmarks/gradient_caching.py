"""Memory and time of a step with a large batch, whole and by mini-batches.

    python benchmarks/gradient_caching.py [--batch_size 4096] [--mini_batch_size 128 ...]

SimCLR with ResNet-18 and its ImageNet stem on made 32-pixel images, float32: one forward and
backward in a process of its own for each size, peak resident memory beyond the model and the batch.
"""

import argparse
import multiprocessing
import threading
import time
from pathlib import Path

import timm
import torch

from cl.data.batch import Batch
from cl.losses.nt_xent import nt_xent
from cl.methods.simclr import SimCLR


def resident() -> float:
    """Of this process, in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e9


class Peak(threading.Thread):
    """The most that was resident, looked at a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.ended = 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.01):
            self.most = max(self.most, resident())


def step(batch_size: int, mini_batch_size: int | None) -> None:
    """One training step; prints its line."""
    torch.manual_seed(0)
    encoder = timm.create_model("resnet18", num_classes=0)
    method = SimCLR(encoder, nt_xent, classes=10, mini_batch_size=mini_batch_size)
    views = [torch.randn(2, batch_size, 3, 32, 32)]
    batch = Batch(views, torch.arange(batch_size) % 10, torch.arange(batch_size))
    before, peak = resident(), Peak()
    peak.start()
    start = time.perf_counter()
    loss = method.training_step(batch, 0)["loss"]
    loss.backward()
    seconds = time.perf_counter() - start
    peak.ended.set()
    what = f"{mini_batch_size} at a time" if mini_batch_size else "whole"
    print(
        f"batch {batch_size:6}  {what:16} {peak.most - before:6.2f} GB  {seconds:6.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--mini_batch_size", type=int, nargs="*", default=[1024, 256, 64])
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, ResNet-18, 2 views")
    for size in (None, *given.mini_batch_size):
        process = multiprocessing.get_context("spawn").Process(
            target=step, args=(given.batch_size, size)
        )
        process.start()
        process.join()


if __name__ == "__main__":
    main()
