"""Rows are means over the steps since the last one; an epoch that lost steps is an error."""

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from cl.callbacks import watch as module_of_watch
from cl.callbacks.watch import Watch
from cl.data.batch import Batch
from cl.optim import Optimization, build_optimizer, planned_steps

LOSSES = [float(2**i) for i in range(14)]  # two epochs of seven steps; no two means are alike
BATCH = Batch([], torch.zeros(8, dtype=torch.long), torch.arange(8))


class Rows(list):
    def log_metrics(self, row: dict[str, float], step: int) -> None:
        self.append((step, row))


class Module(pl.LightningModule):
    def log(self, name: str, value: float, **_: object) -> None:
        self.said = {name: value}


def trainer(**known: object) -> Mock:
    default = {
        "global_step": 0,
        "current_epoch": 0,
        "num_training_batches": 7,
        "max_steps": -1,
        "callback_metrics": {},
        "loggers": [Rows()],
        "optimizers": [SimpleNamespace(param_groups=[{"lr": 0.1}])],
    }
    current = SimpleNamespace(completed=0)
    loop = SimpleNamespace(
        epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=current))
    )
    made = Mock(spec=pl.Trainer, **default | known)
    made.fit_loop = loop
    return made


def step(watch: Watch, t: Mock) -> None:
    loss, at = torch.tensor(LOSSES[t.global_step]), t.global_step % 7
    (group,) = t.optimizers[0].param_groups
    group["lr"] = 0.1 * (t.global_step + 1)
    watch.on_train_batch_start(t, Module(), BATCH, at)
    group["lr"] = 0.1 * (t.global_step + 2)  # a scheduler moves on before the step's end
    t.global_step += 1
    t.is_last_batch = at == 6
    watch.on_train_batch_end(t, Module(), {"log": {"train/loss": loss}}, BATCH, at)
    t.fit_loop.epoch_loop.batch_progress.current.completed = at + 1


def epoch(watch: Watch, t: Mock, steps: int = 7) -> None:
    for _ in range(steps):
        step(watch, t)
    watch.on_train_epoch_end(t, Module())
    t.current_epoch += 1


@pytest.mark.parametrize("every", [1, 2, 3, 7, 10, 100])
def test_rows_are_means(every: int) -> None:
    """Also of the shorter interval that an epoch's end or start cuts off."""
    watch, t, expected = Watch(every), trainer(), []
    for first in (0, 7):
        since = first
        for done in range(first + 1, first + 7):
            if done % every == 0:
                expected.append((done, first // 7, sum(LOSSES[since:done]) / (done - since)))
                since = done
        expected.append((first + 7, first // 7, sum(LOSSES[first : first + 7]) / 7))
        epoch(watch, t)
    found = [(at, row["epoch"], row["train/loss"]) for at, row in t.loggers[0]]
    assert [f[:2] for f in found] == [e[:2] for e in expected]
    assert [f[2] for f in found] == pytest.approx([e[2] for e in expected])
    assert watch.shown["train/loss"] == found[-1][2]


def test_an_epochs_row_has_what_validation_found() -> None:
    watch, t = Watch(100), trainer(loggers=[Rows(), Rows()])
    t.callback_metrics = {"val/knn_top1": torch.tensor(0.5), "monitor/alignment": 2, "epoch": 9}
    epoch(watch, t)
    assert t.loggers[0] == t.loggers[1]
    ((at, row),) = t.loggers[0]
    assert (at, row.pop("epoch"), row.pop("lr")) == (7, 0, pytest.approx(0.7))
    assert row.keys() == {"train/loss", "images_per_s", "val/knn_top1", "monitor/alignment"}
    assert (row["val/knn_top1"], row["monitor/alignment"]) == (0.5, 2)


@pytest.mark.parametrize("steps", [1, 6])
def test_an_epoch_that_lost_steps_is_an_error(steps: int) -> None:
    with pytest.raises(RuntimeError, match=f"epoch 0 ended after {steps} of 7 steps"):
        epoch(Watch(3), trainer(), steps)
    epoch(Watch(3), trainer(max_steps=steps), steps)  # as long as was asked for


@pytest.mark.parametrize("steps", range(8))
def test_a_resumed_epochs_rows_are_the_uninterrupted_ones(steps: int) -> None:
    whole, t = Watch(3), trainer()
    epoch(whole, t)
    part, resumed, u, file = Watch(3), Watch(3), trainer(), io.BytesIO()
    part.on_train_epoch_start(u, Module())
    for _ in range(steps):
        step(part, u)
    torch.save(part.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(steps, 7):
        step(resumed, u)
    resumed.on_train_epoch_end(u, Module())
    a, b = ([(at, row["train/loss"], row["lr"]) for at, row in x.loggers[0]] for x in (t, u))
    assert a == b


def test_validation_gets_the_mean_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(module_of_watch, "time", clock)
    watch, t, module = Watch(100), trainer(), Module()
    watch.on_train_start(t, module)
    for _ in range(7):
        step(watch, t)
    clock.now = 2.0
    watch.on_validation_start(t, module)
    clock.now = 60.0
    watch.on_validation_epoch_end(t, module)
    watch.on_train_epoch_end(t, module)
    ((_, row),) = t.loggers[0]
    assert row["images_per_s"] == 7 * 8 / 2
    assert module.said == {"train/loss": row["train/loss"]}
    t.current_epoch, clock.now = 1, 64.0
    step(watch, t)
    watch.clock()
    assert watch.rate == 8 / 4


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(1000))


class Following(pl.LightningModule):
    """Its learning rate follows its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def configure_optimizers(self) -> Any:
        o = Optimization(scheduler="reduce", lr=0.1)
        return build_optimizer(self, o, *planned_steps(self.trainer), "train/loss")

    def training_step(self, batch: Batch, _: int) -> dict[str, Any]:
        loss = self.layer(torch.ones(1, 1)).square().mean()
        return {"loss": loss, "log": {"train/loss": loss.detach()}}


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize(
    ("samples", "length"),
    [(range(8), {"max_epochs": 2}), (Endless(), {"max_steps": 3})],
    ids=["epochs", "steps"],
)
def test_a_rate_follows_the_loss_without_validation(samples: Any, length: dict[str, int]) -> None:
    """Of the last epoch's mean, which is the least."""
    plain = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    plain |= {"enable_progress_bar": False, "enable_model_summary": False}
    watch = Watch(100)
    t = pl.Trainer(callbacks=[watch], **plain, **length)
    t.fit(Following(), DataLoader(samples, 2, collate_fn=lambda _: BATCH))
    (schedule,) = t.lr_scheduler_configs
    assert schedule.scheduler.best == pytest.approx(watch.shown["train/loss"])


def test_sums_of_a_checkpoint_go_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on in its validation exchanges them before any step; NCCL has no CPU."""
    watch, t, module = Watch(3), trainer(), Module()
    own = {"train/loss": torch.tensor(2.0), "n": 1}
    watch.load_state_dict({"ranks": [{"sums": own, "epoch_sums": own, "now": {"lr": 0.1}}]})
    monkeypatch.setattr(Module, "device", torch.device("meta"))
    watch.on_train_start(t, module)
    for sums in (watch.sums, watch.epoch_sums):
        assert sums["train/loss"].device.type == "meta"
        assert sums["n"] == 1
    assert watch.now == {"lr": 0.1}


def test_one_process_goes_on_with_the_sums_of_two() -> None:
    """As if both processes' samples had been its own: the mean of their means."""
    watch, t = Watch(3), trainer(global_step=2)
    ranks = [{"train/loss": torch.tensor(loss), "n": torch.tensor(2)} for loss in (2.0, 6.0)]
    watch.load_state_dict({"ranks": [{"sums": sums, "epoch_sums": sums} for sums in ranks]})
    step(watch, t)
    ((_, row),) = t.loggers[0]
    assert row["train/loss"] == pytest.approx((4 + LOSSES[2]) / 3)
