"""Where a training step makes the host wait for the GPU, counted, and what a step launches."""

import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.experiment import Case, ours, quiet
from benchmarks.gpu.part import Table, given, synchronize
from cl.callbacks.saver import Stop

# Steps before, of which the last are timed; steps that are counted; steps in the profile.
FIRST, TIMED, COUNTED, PROFILED = 70, 50, 4, 4
ROOT = Path(__file__).parents[2]


class Waits(Callback):
    """Counts the waits of some steps by the line that makes them, then profiles some more."""

    def __init__(self, cuda: bool) -> None:
        self.cuda, self.lines = cuda, Counter[str]()
        self.profiler: profile | None = None
        self.shown = warnings.showwarning
        self.started = self.rate = 0.0  # samples per second of the timed steps

    def note(self, message: Any, *_: Any, **__: Any) -> None:
        """A warning of torch's: the innermost line of the package's that led to it."""
        if "synchronizing CUDA operation" not in str(message):
            return
        frames = traceback.extract_stack()
        own = [f for f in frames if Path(f.filename).is_relative_to(ROOT / "cl")]
        frame = own[-1] if own else frames[-2]
        name = Path(frame.filename)
        place = name.relative_to(ROOT) if own else Path(*name.parts[-3:])
        self.lines[f"{place}:{frame.lineno} {(frame.line or '').strip()[:60]}"] += 1

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if step == FIRST - TIMED:
            synchronize(pl_module.device)
            self.started = time.perf_counter()
        if step == FIRST:
            synchronize(pl_module.device)
            seconds = time.perf_counter() - self.started
            self.rate = TIMED * len(batch.labels) / seconds
            self.listen()
        elif step == FIRST + COUNTED:
            self.ignore()
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.cuda else [])]
            self.profiler = profile(activities=kinds)
            self.profiler.__enter__()
        elif step == FIRST + COUNTED + PROFILED and self.profiler:
            self.profiler.__exit__(None, None, None)
            raise Stop("counted", 0)

    def listen(self) -> None:
        warnings.simplefilter("always")
        warnings.showwarning = self.note
        if self.cuda:
            torch.cuda.set_sync_debug_mode("warn")

    def ignore(self) -> None:
        if self.cuda:
            torch.cuda.set_sync_debug_mode("default")
        warnings.showwarning = self.shown


def profiled(table: Table, profiler: profile) -> None:
    """Kernels, copies and the GPU's busy time of a step."""
    events = [
        e
        for e in profiler.events()
        if e.device_type == torch.autograd.DeviceType.CUDA and not e.is_user_annotation
    ]
    copies = [e for e in events if e.name.startswith(("Memcpy", "Memset"))]
    busy = sum(e.time_range.elapsed_us() for e in events) / PROFILED / 1e3
    span = (
        (max(e.time_range.end for e in events) - min(e.time_range.start for e in events))
        / PROFILED
        / 1e3
    )
    table.row("GPU operations of a step", f"{len(events) / PROFILED:.0f}")
    table.row("of these, copies and fills", f"{len(copies) / PROFILED:.0f}")
    table.row(
        "GPU busy in a step, of its length under the profiler", f"{busy:.1f} of {span:.1f} ms"
    )
    times: Counter[str] = Counter()
    for e in events:
        times[e.name[:70]] += e.time_range.elapsed_us()
    for name, taken in times.most_common(12):
        table.row(f"ms of a step: {name}", f"{taken / PROFILED / 1e3:.3f}")


def main() -> None:
    g = given()
    quiet()
    case = Case("tiny", "resnet6_w8", 32, 64, 640 * 3)
    if not g.rehearse:
        case = Case("ResNet-18", "resnet18", 32, 512, 50_000)
    title = f"host waits in a step, {case.encoder}, {case.size} px, batch {case.batch}"
    table = g.table(title, "what", "number")
    waits = Waits(not g.rehearse)
    ours(case, g.out / "waits", [waits], g.rehearse)
    table.value(case.encoder, waits.rate)
    if g.rehearse:
        table.note("without CUDA there is nothing to wait for; the training it counts in ran")
        return
    for line, number in waits.lines.most_common():
        table.row(line, f"{number / COUNTED:.2f}")
    table.row("waits of a step", f"{waits.lines.total() / COUNTED:.1f}")
    table.check("no line of a step makes the host wait", not waits.lines)
    assert waits.profiler
    profiled(table, waits.profiler)


if __name__ == "__main__":
    main()
