"""A step whose loss or gradient is not finite leaves nothing behind, on any number of processes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cl.callbacks.finite import FiniteSteps
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import NOT_FINITE, Saver, Saving
from cl.callbacks.watch import Watch
from cl.checkpoints import SafeIO
from cl.data.batch import Batch
from cl.interrupts import Stop
from cl.methods._base import Method
from cl.optim import Optimization
from tests.methods.made import made

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*left out"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:Detected call of"),
]
BREAKS = {1: "loss", 2: "infinite loss", 4: "gradient", 5: "image"}  # by the step, from 0 on


PLAIN: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "max_epochs": 1,
}


def batches(steps: int = 7, n: int = 8) -> list[Batch]:
    draw = torch.Generator().manual_seed(0)
    return [
        Batch([torch.randn(2, n, 3, 16, 16, generator=draw)], torch.arange(n) % 3, torch.arange(n))
        for _ in range(steps)
    ]


def loader(given: list[Batch]) -> DataLoader[Any]:
    return DataLoader(given, batch_size=None)  # pyright: ignore[reportArgumentType]


class Break(Callback):
    """Breaks steps on one process, and keeps the state around each of them."""

    def __init__(self, ways: dict[int, str], rank: int = 0) -> None:
        self.ways, self.rank = ways, rank
        self.before: dict[str, Any] = {}
        self.states: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        inner = pl_module.objective

        def objective(h: Tensor, labels: Tensor) -> Tensor:
            loss = inner(h, labels)
            if self.way(trainer) == "loss":
                return loss * torch.nan
            if self.way(trainer) == "infinite loss":  # with a gradient that is finite
                return loss + (torch.inf - loss).detach()
            return loss

        def gradient(g: Tensor) -> Tensor:
            first = torch.arange(g.numel(), device=g.device).view(g.shape) == 0
            return g.masked_fill(first, torch.inf) if self.way(trainer) == "gradient" else g

        pl_module.objective = objective
        next(p for p in pl_module.encoder.parameters() if p.requires_grad).register_hook(gradient)

    def way(self, trainer: pl.Trainer) -> str | None:
        return self.ways.get(trainer.global_step) if trainer.global_rank == self.rank else None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.before = state(trainer, pl_module)
        if self.way(trainer) == "image":
            batch.views[0][0, 1, 2, 3, 4] = torch.nan

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self.states.append((self.before, state(trainer, pl_module)))


def state(trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
    """The weights, buffers, averages and queues, and the optimizer's own state."""
    own = trainer.optimizers[0].state_dict()["state"]
    return copy.deepcopy({"module": module.state_dict(), "optimizer": own})


def different(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two states differ in a bit."""
    if isinstance(one, dict):
        found = [*(one.keys() ^ other.keys())]
        return found + [
            d for k in one.keys() & other.keys() for d in different(one[k], other[k], f"{at}/{k}")
        ]
    same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
    return [] if same else [at]


def fit(
    method: pl.LightningModule, callbacks: list[Callback], given: list[Batch], **options: Any
) -> pl.Trainer:
    trainer = pl.Trainer(callbacks=callbacks, **PLAIN | options | {"enable_checkpointing": False})
    trainer.fit(method, loader(given))
    return trainer


def method(name: str = "simclr", **options: Any) -> Method:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    encoder = nn.Sequential(*convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return made(name, encoder, **options)


def optimized(name: str) -> Optimization:
    return Optimization(optimizer=name, lr=0.1, scheduler="none", warmup_epochs=0)


KINDS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in ("moco", "byol", "barlow_twins", "lejepa")},
    **{o: {"optimization": optimized(o)} for o in ("sgd", "lars", "adam", "adamw")},
    "learned scalars": {"name": "sigmoid", "learn": "both"},
    "a learned temperature out of bounds": {"learn": "temperature"},
    "an average": {"ema_encoder": 0.9},
    "mini-batches": {"mini_batch_size": 3},
}


@pytest.mark.parametrize("reads", [True, False], ids=["read", "on the device"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_is_left_out_changes_nothing(kind: str, reads: bool) -> None:
    broken, whole = Break(BREAKS), FiniteSteps(9, reads)
    fit(method(**KINDS[kind]), [whole, broken], batches())
    for step, (before, after) in enumerate(broken.states):
        assert (not different(before, after)) == (step in BREAKS), step
    assert whole.state_dict() == {"in_row": 0, "total": 4}


class Asks(Callback):
    """Asks for the counts after every step, as a checkpoint does."""

    def __init__(self, whole: FiniteSteps) -> None:
        self.whole = whole

    def on_train_batch_end(self, *_: Any) -> None:
        self.whole.state_dict()


def test_what_a_checkpoint_reads_of_a_device_is_still_said() -> None:
    whole = FiniteSteps(9, reads=False)
    with pytest.warns(UserWarning, match="4 steps up to step .* are left out"):
        fit(method(), [whole, Break(BREAKS), Asks(whole)], batches())


@pytest.mark.parametrize("reads", [True, False], ids=["read", "on the device"])
@pytest.mark.parametrize("kind", ["sgd", "lars", "adam", "adamw"])
def test_the_first_step_can_be_left_out(kind: str, reads: bool) -> None:
    """Before an optimizer has a state: the run is then the one that starts with the second."""
    left_out, without = method(**KINDS[kind]), method(**KINDS[kind])
    fit(left_out, [FiniteSteps(9, reads), Break({0: "image"})], batches())
    fit(without, [FiniteSteps(9, reads)], batches()[1:])
    assert not different(left_out.state_dict(), without.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_such_steps_is_as_it_was(kind: str) -> None:
    found = []
    for callbacks in ([], [FiniteSteps(9)]):
        keep = Break({})
        fit(method(**KINDS[kind]), [*callbacks, keep], batches())
        found.append(keep.states)
    assert not different(dict(enumerate(found[0][-1])), dict(enumerate(found[1][-1])))


@pytest.mark.parametrize("kind", ["sgd", "lars", "adam", "adamw"])
def test_on_a_device_it_is_so_but_for_the_rounding_of_its_kernels(kind: str) -> None:
    found = [method(**KINDS[kind]), method(**KINDS[kind])]
    for module, callbacks in zip(found, ([], [FiniteSteps(9, reads=False)]), strict=True):
        fit(module, callbacks, batches())
    torch.testing.assert_close(found[1].state_dict(), found[0].state_dict(), rtol=1e-5, atol=1e-5)


def test_a_loss_that_stays_broken_ends_the_run(tmp_path: Path) -> None:
    """The newest weights before it are saved once, and no later run puts others in their place."""
    rows: list[tuple[int, dict[str, float]]] = []

    def run(ckpt: Path | None, ways: dict[int, str], limit: int = 2) -> FiniteSteps:
        whole, saver = FiniteSteps(limit), Saver(tmp_path, saving=Saving(every=1, unit="steps"))
        watch = Watch(5)
        watch.write = lambda trainer, row: rows.append((trainer.global_step, row))
        callbacks = [whole, Break(ways), Geometry("stop"), watch, saver]
        trainer = pl.Trainer(callbacks=callbacks, plugins=[SafeIO()], **PLAIN)
        trainer.fit(method(), loader(batches()), ckpt_path=ckpt)
        return whole

    with pytest.raises(Stop, match=r"up to step 6, .* not finite; the newest checkpoint") as ended:
        run(None, dict.fromkeys((1, 3, 4, 5, 6), "image"))
    assert ended.value.code == NOT_FINITE
    file = tmp_path / "last.ckpt"
    saved = SafeIO().load_checkpoint(file)
    assert saved["global_step"] == 3  # the one before the row
    assert [(step, row["train/bad_steps"]) for step, row in rows] == [(5, 3), (6, 1)]
    assert "train/loss" not in rows[1][1]
    assert all(value.isfinite().all() for value in saved["state_dict"].values())

    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(Stop):
            run(file, dict.fromkeys(range(9), "loss"))
    assert file.read_bytes() == before
    assert run(file, {}).state_dict() == {"in_row": 0, "total": 1}
    assert SafeIO().load_checkpoint(file)["global_step"] == 7


def test_a_loss_that_is_broken_from_the_start_leaves_no_checkpoint(tmp_path: Path) -> None:
    callbacks = [FiniteSteps(2), Break(dict.fromkeys(range(9), "image")), Saver(tmp_path)]
    trainer = pl.Trainer(callbacks=callbacks, plugins=[SafeIO()], **PLAIN)
    with pytest.raises(Stop, match="not finite; there is no checkpoint before"):
        trainer.fit(method(), loader(batches()))
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("broken", "saves", "code"), [((5,), [3, 7], 0), ((3, 4, 5), [3, 7], 0), ((5, 6), [3, 7], 4)]
)
def test_a_step_that_broke_the_weights_takes_no_checkpoints_place(
    broken: tuple[int, ...], saves: list[int], code: int, tmp_path: Path
) -> None:
    """What is due behind a step that was left out waits for one that is not; or it is said."""
    saver, asked = Saver(tmp_path, saving=Saving(every=3, unit="steps")), []
    whole = saver.save

    def save(trainer: pl.Trainer, *more: Any) -> None:
        asked.append(trainer.global_step)
        whole(trainer, *more)

    saver.save = save
    callbacks = [FiniteSteps(9), Break(dict.fromkeys(broken, "image")), saver]
    trainer = pl.Trainer(callbacks=callbacks, plugins=[SafeIO()], **PLAIN)
    trainer.fit(method(), loader(batches()))
    assert asked == saves
    said = "step 7 is NOT saved: the newest 2 steps were left out"
    assert saver.outcome()[0] == code
    assert saver.outcome()[1].startswith(said) is bool(code)
    newest = SafeIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"]
    assert newest == (3 if code else 7)


def test_none_may_be_left_out() -> None:
    whole = FiniteSteps(0)
    fit(method(), [whole, Break({6: "loss"})], batches())
    assert whole.over


@pytest.mark.parametrize("way", ["overflow", "loss", "gradient"])
def test_an_overflow_is_the_scalers_and_not_counted(way: str) -> None:
    """It halves its scale; a loss that is not finite is counted there too."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**125 if way == "overflow" else 2.0)
    whole, broken = FiniteSteps(9), Break({} if way == "overflow" else dict.fromkeys(range(7), way))
    module = method()
    fit(module, [whole, broken], batches(), plugins=[Half(scaler)])
    assert scaler.get_scale() < 2.0**125 if way == "overflow" else scaler.get_scale() == 2.0**-6
    assert whole.total == {"overflow": 0, "loss": 7, "gradient": 5}[way]  # from a scale below 1 on


class Half(MixedPrecision):
    """A scaler as float16 has it, with float32's operations."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        super().__init__("16-mixed", "cpu", scaler)

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)


class Kept(Callback):
    """Writes what is left of a training, for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        whole = trainer.callbacks[0]
        found = pl_module.state_dict(), whole.state_dict()
        torch.save(found, self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param(True, marks=pytest.mark.slow, id="read"),
        pytest.param(False, id="on the device"),
    ],
)
def test_all_processes_leave_it_out_together(reads: bool, tmp_path: Path) -> None:
    """One process alone has the fault, of each kind; the other steps are those without it."""
    options = {"strategy": "ddp_spawn", "devices": 2, "use_distributed_sampler": False}
    callbacks = [FiniteSteps(9, reads), Break(BREAKS, rank=1), Kept(tmp_path)]
    fit(method(), callbacks, batches(), **options)
    (one, counted), (other, also) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert counted == also == {"in_row": 0, "total": 4}
    weights = {name for name, _ in method().named_parameters()}
    assert not different({k: one[k] for k in weights}, {k: other[k] for k in weights})
    assert all(value.isfinite().all() for value in [*one.values(), *other.values()])
