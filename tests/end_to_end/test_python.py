"""From Python: own modules, data sets, loaders and losses, one run after the other."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import cl
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import Saver
from cl.data import sets
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData
from cl.methods.simclr import SimCLR
from cl.metrics import MONITORS, read_metrics

REPOSITORY = Path(__file__).parents[2]
SHORT: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 16,
    "precision": "32",
    "wandb": "off",
    "hidden_mlp": 16,
    "encoding_size": 8,
    "num_workers": 1,
}


class Net(nn.Module):
    """Does not say how wide its features are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(150, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x))


class Squares(Dataset):
    """Images of two colors, as torchvision's data sets are: (PIL or array, label)."""

    classes = ("dark", "bright")

    def __init__(self, number: int = 80, labeled: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.targets = [i % 2 for i in range(number)]
        noise = rng.integers(0, 60, (number, 12, 12, 3))
        bright = np.array(self.targets)[:, None, None, None] * 150
        self.pixels, self.labeled = (noise + bright).astype("uint8"), labeled

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> Any:
        image = self.pixels[at]
        return (image, self.targets[at]) if self.labeled else image


class Views(Dataset):
    """Pairs of views as a user makes them."""

    classes = ("dark", "bright")

    def __init__(self, number: int = 64) -> None:
        self.inner = Squares(number)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, at: int) -> tuple[list[Tensor], int]:
        image, label = self.inner[at]
        x = torch.from_numpy(image).permute(2, 0, 1) / 255
        return [x, x.flip(-1)], label


class Images(Views):
    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        (x, _), label = super().__getitem__(at)
        return x, label


def far(z: Tensor, ids: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
    """InfoNCE in one direction."""
    a, b = F.normalize(z[0], dim=-1), F.normalize(z[1], dim=-1)
    return F.cross_entropy(a[rows] @ b.T / 0.5, torch.arange(len(b))[rows])


def test_import_is_light() -> None:
    program = "import sys, cl; print(dir(cl), 'torch' in sys.modules, cl.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    names = ["__version__", "embed", "evaluate", "load_encoder", "losses", "methods", "pretrain"]
    assert done.stdout.split("] ")[0] + "]" == str(names)
    assert done.stdout.endswith(f"False {cl.__version__}\n")
    assert all(getattr(cl, name) for name in cl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = cl.pretrian


@pytest.mark.filterwarnings("ignore:COLLAPSED")  # two classes of gray are a line
def test_own_module_data_set_and_loss(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    encoder = Net()
    before = [p.detach().clone() for p in encoder.parameters()]
    run = cl.pretrain(encoder, Squares(), loss=far, **SHORT, output=str(tmp_path))
    assert run.code == 0
    assert run.encoder is encoder
    assert not encoder.training
    assert not any(torch.equal(p, b) for p, b in zip(encoder.parameters(), before, strict=True))
    assert run.folder.parent == tmp_path
    assert [row["step"] for row in run.history] == [4, 8]  # 80 less a fifth or tenth, 16 a step
    assert 0 < run.history[-1]["val/probe_top1"] <= 1  # of eight images after eight steps
    assert run.result["trained"].keys() == run.result["untrained"].keys()
    said = capsys.readouterr().out
    assert "72 train / 8 val" in said
    assert "cl.evaluate(run.encoder" in said
    results = cl.evaluate(
        run.encoder, Squares(), "knn", k=(5,), image_size=12, wandb="off", output=str(tmp_path)
    )
    assert results["knn"].numbers["top1"] > 0.5


def test_without_labels_no_accuracy_is_logged(tmp_path: Path) -> None:
    data = Squares(labeled=False)
    run = cl.pretrain("resnet6_w4", data, **SHORT, output=str(tmp_path))
    assert run.method.probe is None
    assert run.result == {}
    row = run.history[-1]
    assert not any("probe" in name or "knn" in name for name in row)
    assert row["monitor/effective_rank"] > 0
    assert row["train/loss"] > 0


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.filterwarnings("ignore:COLLAPSED")  # two classes of gray are a line
def test_a_loader_of_views(validated: bool, tmp_path: Path) -> None:
    train, val = DataLoader(Views(), 16), DataLoader(Images(20), 10)
    more = {k: v for k, v in SHORT.items() if k not in ("batch_size", "num_workers")}
    data = (train, val) if validated else train
    run = cl.pretrain("resnet6_w4", data, **more, output=str(tmp_path))
    rows = run.history
    assert [row["step"] for row in rows] == [4, 8]
    assert ("val/probe_top1" in rows[-1]) is ("val/knn_top1" in rows[-1]) is validated
    assert all(name in rows[-1] for name in MONITORS)


class Counts(pl.Callback):
    """How many steps a run has done, which its checkpoint keeps."""

    steps = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]


class AdamWithoutSchedule(SimCLR):
    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def test_own_callbacks_and_optimizer_go_on(tmp_path: Path) -> None:
    short = {**SHORT, "batch_size": 256, "baseline": False, "output": str(tmp_path)}

    def go(max_steps: int, **more: Any) -> int:
        counts, how = Counts(), short | more
        callbacks = [counts, EarlyStopping("train/loss", patience=9)]
        run = cl.pretrain(
            "resnet6_w4",
            "digits",
            method=AdamWithoutSchedule,
            callbacks=callbacks,
            max_steps=max_steps,
            **how,
        )
        assert run.code == 0
        return counts.steps

    assert go(2, run_id="a") == 2
    assert go(5, resume_training_from=str(tmp_path / "a")) == 5


def test_a_file_of_settings_chooses_the_method_that_is_not_given(tmp_path: Path) -> None:
    short = {"output": str(tmp_path), "wandb": "off", "max_steps": 0}
    first = cl.pretrain("resnet6_w4", "digits", "byol", run_id="a", **short)
    again = cl.pretrain("resnet6_w4", "digits", config=str(first.folder), run_id="b", **short)
    other = cl.pretrain("resnet6_w4", "digits", "simclr", config=str(first.folder), **short)
    methods = [type(run.method).__name__ for run in (first, again, other)]
    assert methods == ["BYOL", "BYOL", "SimCLR"]


def plain_trainer(folder: Path, *callbacks: Any, **more: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[*callbacks],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **more,
    )


@pytest.mark.parametrize("kind", ["source", "loader", "module of loaders"])
@pytest.mark.filterwarnings("ignore")
def test_lightnings_own_trainer(kind: str, tmp_path: Path) -> None:
    """Its loggers, EarlyStopping and ModelCheckpoint get the numbers by their names."""
    torch.manual_seed(0)
    loaders = DataLoader(Views(), 16), DataLoader(Images(20), 10)
    data: dict[str, Any] = {
        "source": {
            "datamodule": ContrastiveData(
                sets.from_dataset(Squares()), [Recipe(size=12, views=2)], batch_size=16
            )
        },
        "loader": {"train_dataloaders": loaders[0], "val_dataloaders": loaders[1]},
        "module of loaders": {"datamodule": ContrastiveData.from_loaders(*loaders)},
    }[kind]
    best = ModelCheckpoint(tmp_path, "best", monitor="val/probe_top1", mode="max")
    stop = EarlyStopping("train/loss", min_delta=100.0, patience=1)
    trainer = plain_trainer(
        tmp_path, best, stop, Geometry("warn"), Saver(tmp_path), max_epochs=9, max_steps=-1
    )
    method = SimCLR(
        Net(), classes=2, hidden_mlp=16, encoding_size=8, example=torch.zeros(2, 3, 12, 12)
    )
    trainer.fit(method, **data)
    assert trainer.current_epoch == 2  # nothing improves by 100
    assert (tmp_path / "best.ckpt").exists()
    assert 0 <= float(best.best_model_score) <= 1
    metrics = trainer.callback_metrics
    for name in (
        "train/loss",
        "train/probe_top1",
        "val/probe_top1",
        "val/knn_top1",
        *MONITORS,
    ):
        assert name in metrics, name
    rows = read_metrics(tmp_path / "metrics.csv")
    steps = [float(row["train/loss_step"]) for row in rows if row["train/loss_step"]]
    means = [float(row["train/loss_epoch"]) for row in rows if row["train/loss_epoch"]]
    assert len(steps) == 2 * len(trainer.train_dataloader)
    assert means == pytest.approx(
        [np.mean(half) for half in np.split(np.array(steps), 2)], rel=1e-5
    )
    assert float(metrics["train/loss"]) == pytest.approx(means[-1])
    assert [float(row["val/probe_top1"]) for row in rows if row["val/probe_top1"]]


TWO = """
import sys, torch, cl
for seed in map(int, sys.argv[2:]):
    cl.pretrain("resnet6_w4", "digits", epochs=1, max_steps=4, batch_size=32, precision="32",
                hidden_mlp=16, wandb="off", baseline=False, num_workers=1, seed=seed,
                method=["simclr", "byol"][seed], output=sys.argv[1], run_id=f"{seed}")
"""


@pytest.mark.slow
def test_two_runs_in_a_process_are_those_of_two_processes(tmp_path: Path) -> None:
    for name, seeds in {"both": "01", "first": "0", "second": "1"}.items():
        subprocess.run(
            [sys.executable, "-c", TWO, str(tmp_path / name), *seeds],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=200,
        )
    for seed, alone in {"0": "first", "1": "second"}.items():
        a, b = (
            torch.load(tmp_path / name / seed / "last.ckpt", weights_only=True)["state_dict"]
            for name in ("both", alone)
        )
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def state() -> dict[str, Any]:
    """What of a process is everybody's."""
    return {
        "environment": dict(os.environ),
        "filters": [*warnings.filters],
        "shown": warnings.showwarning,
        "levels": [logging.getLogger(n).level for n in ("pytorch_lightning", "lightning.fabric")],
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        # Not Python's own generator: what checks annotations in tests draws from it.
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def test_a_run_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    """Also two without ids of their own, with workers, one of them in float64."""
    before, threads = state(), threading.active_count()
    folders = {
        cl.pretrain(
            "resnet6_w4",
            Squares(),
            **SHORT | {"precision": p},
            backend=backend,
            output=str(tmp_path),
        ).folder
        for p, backend in (("32", "torch"), ("64", "auto"))
    }
    assert len(folders) == 2
    assert state() == before
    assert multiprocessing.active_children() == []
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_and_is_raised(
    number: signal.Signals,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A script whose run was ended does not go on as if it were finished."""
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_step == 2:
            os.kill(os.getpid(), number)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    before = state()
    words = {"output": str(tmp_path), "run_id": "run", "baseline": False}
    with pytest.raises(raised) as ended:
        cl.pretrain("resnet6_w4", Squares(), **SHORT, **words)
    assert number == signal.SIGINT or ended.value.code == 128 + number
    assert state() == before
    monkeypatch.undo()
    assert (tmp_path / "run" / "last.ckpt").exists()
    del words["run_id"]
    run = cl.pretrain(
        "resnet6_w4", Squares(), **SHORT, **words, resume_training_from=str(tmp_path / "run")
    )
    whole = cl.pretrain("resnet6_w4", Squares(), **SHORT, **words)
    ours, theirs = run.encoder.state_dict(), whole.encoder.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_thread_may_train(tmp_path: Path) -> None:
    """Where no signal handlers can be set."""
    runs: list[cl.runs.Run] = []
    words = {**SHORT, "max_steps": 2, "baseline": False, "output": str(tmp_path)}
    thread = threading.Thread(
        target=lambda: runs.append(cl.pretrain("resnet6_w4", Squares(), **words))
    )
    thread.start()
    thread.join()
    assert [run.code for run in runs] == [0]


@pytest.mark.parametrize(
    ("given", "flags", "said"),
    [
        (Squares, {"epoch": 3}, "epoch"),
        (Squares, {"temperature": -1.0, "epochs": 0}, "temperature"),
        (Squares, {"data_folder": "here"}, "data_folder cannot be used"),
        (lambda: "digit", {}, "digits"),
        (lambda: [1, 2], {}, "image"),
    ],
)
def test_what_is_wrong_is_a_value_error(
    given: Callable[[], Any], flags: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        cl.pretrain("resnet6_w4", given(), **flags, wandb="off", output=str(tmp_path))
    assert not list(tmp_path.iterdir())
