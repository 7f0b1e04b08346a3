"""The progress a person reads: which numbers, in which words, one line an epoch."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl

from cl.callbacks import bar
from cl.callbacks.bar import Bar, Lines, summary
from cl.callbacks.watch import Watch

SHOWN = {
    "train/loss": 3.76541,
    "train/probe_loss": 1.0,
    "train/probe_top1": 0.275,
    "val/probe_top1": 0.3412,
    "val/knn_top1": 1.0,
    "lr": 0.1,
}
LINE = "loss 3.7654  train probe 27.5%  val probe 34.1%  val knn 100.0%  img/s 1235"


def trainer(step: int = 0, **known: object) -> Mock:
    default = {"global_step": step, "current_epoch": 0, "max_epochs": 4, "is_global_zero": True}
    return Mock(spec=pl.Trainer, estimated_stepping_batches=100, **default | known)


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


def test_one_line_an_epoch(
    watch: Watch, clock: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    """A resumed run's time is that of its own steps: 25 of them in 50 s, then 50 in 75 s."""
    lines, module = Lines(watch), pl.LightningModule()
    lines.on_train_start(trainer(25), module)
    for epoch, now in ((1, 100.0), (2, 125.0)):
        clock.now = now
        lines.on_train_epoch_end(trainer(25 * (epoch + 1), current_epoch=epoch), module)
    lines.on_train_epoch_end(trainer(100, current_epoch=3, is_global_zero=False), module)
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 2/4  {LINE}  left 0:01:40",
        f"epoch 3/4  {LINE}  left 0:00:38",
    ]


def test_the_bar_shows_the_same(watch: Watch, clock: SimpleNamespace) -> None:
    shown = Bar(watch)
    shown.started, shown.first = clock.now, 25
    clock.now = 100.0
    metrics = shown.get_metrics(trainer(50), pl.LightningModule())
    assert "  ".join(f"{k} {v}" for k, v in metrics.items()) == f"{LINE}  left 0:01:40"


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (36_000, "10:00:00")],
)
def test_time_left(watch: Watch, clock: SimpleNamespace, seconds: float, left: str) -> None:
    """Half of the steps took as long as the other half will."""
    assert summary(trainer(50), watch, clock.now - seconds, 0)["left"] == left


def test_what_is_not_known_is_left_out(clock: SimpleNamespace) -> None:
    """Before the first step there is no loss and no guess; a probe without validation has one."""
    watch = Watch(10)
    assert summary(trainer(25), watch, clock.now, 25) == {"img/s": "0"}
    watch.shown = {"train/probe_top1": 0.5}
    assert list(summary(trainer(25), watch, clock.now, 25)) == ["train probe", "img/s"]
