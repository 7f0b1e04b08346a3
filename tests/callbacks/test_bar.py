"""The progress a person reads: which numbers, in which words, one line an epoch, one that moves."""

import io
import math
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from cl.callbacks import bar
from cl.callbacks.bar import NEXT_BATCH, Bar, DataWait, Lines, last_epoch, numbers
from cl.callbacks.watch import Watch
from cl.data.batch import Batch
from cl.trainer import Trainer
from tests.trainers import QUIET_ON_CPU

SHOWN = {
    "train/loss": 3.76541,
    "train/probe_loss": 1.0,
    "train/probe_top1": 0.275,
    "val/probe_top1": 0.3412,
    "val/knn_top1": 1.0,
    "lr": 0.1,
}
LINE = "loss 3.765  probe 27.5% train, 34.1% val  knn 100.0%  1,235 img/s"

BATCH = Batch([], torch.zeros(2, dtype=torch.long), torch.arange(2))


def trainer(step: int = 0, **known: object) -> Mock:
    default = {"global_step": step, "current_epoch": 0, "max_epochs": 4, "is_global_zero": True}
    default |= {"estimated_stepping_batches": 100, "num_training_batches": 25, "max_steps": -1}
    default |= {"accumulate_grad_batches": 1}
    return Mock(spec=pl.Trainer, **default | {"num_val_batches": [8], "profiler": None} | known)


@pytest.fixture
def watch() -> Watch:
    watch = Watch(10)
    watch.rate = 1234.6
    watch.shown |= SHOWN
    return watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=50.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(bar, "time", clock)
    return clock


def begin(lines: Lines, step: int) -> None:
    """A training that has done its first step, which is the `step`-th of the run."""
    lines.on_train_start(trainer(step - 1), pl.LightningModule())
    lines.on_train_batch_end(trainer(step), pl.LightningModule(), None, None, 0)


def test_one_line_an_epoch(
    watch: Watch, clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    """A resumed run's time is that of its own steps: 25 of them in 50 s, then 50 in 75 s."""
    lines, module = Lines(watch), pl.LightningModule()
    begin(lines, 25)
    for epoch, now in ((1, 100.0), (2, 125.0)):
        clock.now = now
        lines.on_train_epoch_end(trainer(25 * (epoch + 1), current_epoch=epoch), module)
    lines.on_train_epoch_end(trainer(100, current_epoch=3, is_global_zero=False), module)
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 2/4  {LINE}  data wait 0%  left 0:01:40",
        f"epoch 3/4  {LINE}  data wait 0%  left 0:00:38",
    ]


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(59.6, "0:01:00"), (3661, "1:01:01"), (36_000, "10:00:00")],
)
def test_time_left(watch: Watch, clock: SimpleNamespace, seconds: float, left: str) -> None:
    """Half of the steps took as long as the other half will; the first one's time is its own."""
    lines = Lines(watch)
    clock.now = 1000.0  # of which the first step took a lot
    begin(lines, 1)
    clock.now += seconds
    assert lines.pace(trainer(51, estimated_stepping_batches=101))[-1] == f"left {left}"


class Sleepless(pl.LightningModule):
    """A step takes ten seconds of a clock that nobody waits for."""

    def __init__(self, clock: SimpleNamespace) -> None:
        super().__init__()
        self.layer, self.clock = nn.Linear(1, 1), clock

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch: Batch, _: int) -> dict[str, Any]:
        self.clock.now += 10
        loss = self.layer(torch.ones(1, 1)).square().mean()
        return {"loss": loss, "log": {"train/loss": loss.detach()}}


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(None, [100, 50, 0]), (12, [70, 20, 0]), (7, [20, 0]), (100, [100, 50, 0])],
)
def test_a_limit_of_steps_ends_the_time_left(
    clock: SimpleNamespace,
    limit: int | None,
    seconds: list[int],
    capsys: pytest.CaptureFixture,
) -> None:
    """Of three epochs of five steps, by the Trainer of a run, which Lightning tells no limit.

    The epochs are counted up to the one in which it ends.
    """
    watch = Watch(100)
    lines = Lines(watch)
    made = Trainer(limit, max_epochs=3, callbacks=[watch, lines], **QUIET_ON_CPU)
    samples: Any = range(10)
    made.fit(Sleepless(clock), DataLoader(samples, 2, collate_fn=lambda _: BATCH))
    said = capsys.readouterr().out.splitlines()
    found = [line.partition("left ")[2] for line in said]
    assert found == [f"0:{each // 60:02}:{each % 60:02}" for each in seconds]
    epochs = [line.partition("  ")[0] for line in said]
    assert epochs == [f"epoch {i}/{len(seconds)}" for i in range(1, len(seconds) + 1)]


@pytest.mark.parametrize(
    ("known", "last"),
    [
        ({"max_epochs": 100}, 100),
        ({"max_epochs": 100, "limit": 51}, 3),  # of 25 steps each
        ({"max_epochs": 100, "limit": 50}, 2),
        ({"max_epochs": 2, "limit": 51}, 2),
        ({"max_epochs": 100, "limit": 7, "accumulate_grad_batches": 5}, 2),
        ({"max_epochs": -1, "limit": 51}, 3),
        ({"max_epochs": 100, "limit": 100, "current_epoch": 2, "global_step": 30}, 5),  # cut at 30
        ({"max_epochs": 100, "limit": 100, "current_epoch": 1, "global_step": 30}, 4),
        ({"max_epochs": 100, "limit": 51, "num_training_batches": math.inf}, None),
    ],
)
def test_the_epoch_in_which_a_run_ends(known: dict[str, Any], last: int | None) -> None:
    made = trainer(**{k: v for k, v in known.items() if k != "limit"})
    made.limit = known.get("limit", -1)
    assert last_epoch(made) == last
    lines = Lines(Watch(10))
    lines.on_train_start(made, pl.LightningModule())
    assert lines.epoch(made) == f"epoch {made.current_epoch + 1}" + (f"/{last}" if last else "")


def test_what_is_not_known_is_left_out(clock: SimpleNamespace) -> None:
    """Before the first step there is no loss and no guess; a probe without validation has one."""
    watch = Watch(10)
    assert numbers(watch) == Lines(watch).pace(trainer(25)) == []
    watch.shown = {"train/probe_top1": 0.5}
    assert numbers(watch) == ["probe 50.0% train"]
    assert numbers(watch, short=True) == ["probe 50.0%"]
    lines = Lines(watch)
    begin(lines, 1)
    clock.now += 10
    endless = trainer(11, estimated_stepping_batches=float("inf"))
    assert lines.pace(endless) == ["data wait 0%"]


def test_waiting_for_data(watch: Watch, clock: SimpleNamespace) -> None:
    """3 of 12 seconds; other actions that are profiled are not counted."""
    wait, lines = DataWait(), Lines(watch)
    begin(lines, 1)
    for name, seconds in ((NEXT_BATCH, 3), ("run_training_batch", 9)):
        wait.start(name)
        clock.now += seconds
        wait.stop(name)
    assert lines.pace(trainer(3, profiler=wait))[0] == "data wait 25%"


@pytest.mark.parametrize(
    ("width", "beside"),
    [
        (120, "loss 3.765  probe 34.1%  1,235 img/s  wait 0%  left 0:00:25"),
        (80, "loss 3.765  probe 34.1%  1,235 img/s  wait 0%  left 0:00:25"),
        (60, "loss 3.765  probe 34.1%  left 0:00:25"),
        (30, "left 0:00:25"),
        (20, ""),
    ],
)
def test_the_bar_has_one_line(
    watch: Watch, clock: SimpleNamespace, width: int, beside: str
) -> None:
    """What there is no room for is left out; the epochs that have ended stay above."""
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=True, color_system=None)
    shown, module = Bar(watch, console), pl.LightningModule()
    begin(shown, 25)
    clock.now += 50
    shown.on_train_batch_end(trainer(75), module, None, None, 11)
    shown.on_validation_batch_end(trainer(75), module, None, None, 7, 0)
    shown.on_train_epoch_end(trainer(75), module)
    shown.on_train_end(trainer(75), module)
    pictures = written.getvalue().replace("\x1b[2K", "\n").splitlines()
    bars = [picture.rstrip("\r") for picture in pictures if picture.startswith("epoch 1/4 ━")]
    assert all(len(picture) <= width for picture in bars)
    assert bars[-1].rstrip().endswith(f" {beside}".rstrip())
    assert width < 80 or f"epoch 1/4  {LINE}\n" in written.getvalue()


def test_only_the_first_process_draws(watch: Watch, clock: SimpleNamespace) -> None:
    written = io.StringIO()
    shown = Bar(watch, Console(file=written, force_terminal=True))
    shown.disable()
    begin(shown, 1)
    shown.on_train_epoch_end(trainer(25, is_global_zero=False), pl.LightningModule())
    shown.on_train_end(trainer(25), pl.LightningModule())
    assert written.getvalue() == ""


def test_of_many_epochs_some_have_a_line(watch: Watch, capsys: pytest.CaptureFixture) -> None:
    """The last one has, wherever it is."""
    lines = Lines(watch, every=3)
    lines.on_train_start(trainer(max_epochs=8), pl.LightningModule())
    for epoch in range(8):
        lines.on_train_epoch_end(trainer(current_epoch=epoch, max_epochs=8), pl.LightningModule())
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said] == ["epoch 3/8", "epoch 6/8", "epoch 8/8"]
