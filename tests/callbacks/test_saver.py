"""The state of the random numbers comes back with the checkpoint."""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader, Subset

from cl.callbacks.saver import BROKEN, NOT_SAVED, Saver, Saving
from cl.checkpoints import SafeIO, io, plan_space
from cl.checkpoints.files import NotFiniteError
from cl.config import parse_pretrain, to_json
from cl.interrupts import Stop, interrupts
from cl.trainer import fit


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    trainer = pl.Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False)
    module, checkpoint = pl.LightningModule(), {}
    Saver(tmp_path).on_save_checkpoint(trainer, module, checkpoint)
    expected = torch.rand(3)
    torch.manual_seed(1)
    saver = Saver(tmp_path)
    saver.on_load_checkpoint(trainer, module, checkpoint)
    saver.on_train_start(trainer, module)
    saver.teardown(trainer, module, "fit")
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


OPTIONS = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.mark.parametrize(
    ("saving", "saved"),
    [
        (Saving(), [2, 4, 6]),
        (Saving(every=2), [4, 6]),
        (Saving(every=1, unit="steps"), [1, 2, 3, 4, 5, 6]),
        (Saving(every=3, unit="steps"), [3, 6]),
        (Saving(every=1e6, unit="minutes"), [6]),
        (Saving(every=1e-9, unit="minutes"), [1, 2, 3, 4, 5, 6]),
        (Saving(every=9, epochs=(1,)), [2, 6]),
    ],
)
def test_it_saves_as_often_as_asked_for_and_at_the_end(
    tmp_path: Path, saving: Saving, saved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(Saver, "save", lambda _, trainer, *__: steps.append(trainer.global_step))
    trainer = pl.Trainer(max_epochs=3, callbacks=[Saver(tmp_path, saving=saving)], **OPTIONS)
    trainer.fit(Fits(), *(DataLoader([torch.zeros(1)] * 4, batch_size=2) for _ in range(2)))
    assert steps == saved


def test_the_best_epochs_and_those_that_are_named_are_kept(tmp_path: Path) -> None:
    scores = [0.3, 0.5, 0.1, 0.5, 0.6]
    saving = Saving(every=9, best=2, by=("unknown", "score"), epochs=(3,))
    trainer = pl.Trainer(
        max_epochs=5, callbacks=[Saver(tmp_path, {}, saving)], plugins=[SafeIO()], **OPTIONS
    )
    module = Fits(scores)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    kept = {p.name for p in tmp_path.glob("*epoch=*")}
    names = {"best-epoch=2.ckpt", "best-epoch=5.ckpt", "epoch=3.ckpt"}
    assert kept == names | {f"{name}.sha256" for name in names}
    for name, step in (("best-epoch=2.ckpt", 4), ("epoch=3.ckpt", 6), ("last.ckpt", 10)):
        assert SafeIO().load_checkpoint(tmp_path / name)["global_step"] == step


def test_an_epoch_without_a_number_is_not_kept_and_that_is_said(tmp_path: Path) -> None:
    saver = Saver(tmp_path, {}, Saving(best=2, by=("unknown",)))
    trainer = pl.Trainer(max_epochs=2, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    with pytest.warns(UserWarning, match="keeps no epoch that has none of unknown") as said:
        trainer.fit(Fits(), *(DataLoader([torch.zeros(1)] * 2),) * 2)
    assert sum("--keep_best" in str(each.message) for each in said) == 1
    assert not list(tmp_path.glob("best*.ckpt"))


@pytest.mark.parametrize("lost", ["optimizer", "data"])
def test_a_resume_that_fails_before_its_first_step_leaves_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The step is restored before the optimizer's state is, and random numbers come last."""

    def run(epochs: int, resume: Path | None = None, *callbacks: Callback) -> None:
        each = [*callbacks, Saver(tmp_path, {})]
        trainer = pl.Trainer(max_epochs=epochs, callbacks=each, plugins=[SafeIO()], **OPTIONS)
        trainer.fit(Fits(), *(DataLoader([torch.zeros(1)] * 2),) * 2, ckpt_path=resume)

    class Fails(Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            raise RuntimeError("no room on the card")

    def fail(*_: object) -> None:
        raise RuntimeError("no room on the card")

    run(2)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if lost == "optimizer":
        monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", fail)
    with pytest.raises(RuntimeError, match="no room on the card"):
        run(4, tmp_path / "last.ckpt", *([Fails()] if lost == "data" else []))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def refusing(step: int) -> Callable[..., None]:
    """A writer of torch's that has no room for the checkpoint of one step."""
    save = torch.save

    def write(content: dict[str, object], file: object) -> None:
        if content["global_step"] == step:
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        save(content, file)

    return write


def test_an_epoch_that_is_not_saved_takes_out_none_of_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "save", refusing(6))
    saving = Saving(best=2, by=("score",))
    saver = Saver(tmp_path, {}, saving)
    trainer = pl.Trainer(max_epochs=5, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    with pytest.warns(UserWarning, match="step 6 is NOT saved"):
        trainer.fit(Fits([0.3, 0.5, 0.9, 0.4, 0.6]), *(DataLoader([torch.zeros(1)] * 2),) * 2)
    best = {"best-epoch=2.ckpt": 0.5, "best-epoch=5.ckpt": 0.6}
    assert {p.name for p in tmp_path.glob("best*.ckpt")} == {*best}
    assert saver.kept.best == pytest.approx(best)


@pytest.mark.parametrize("more", [1, 0])
def test_what_a_kill_has_left_undone_is_done_by_the_resumed_run(tmp_path: Path, more: int) -> None:
    """A kill between the write of a checkpoint and the links to it, as the files are then."""
    saving = Saving(best=1, by=("score",), epochs=(2,))

    def run(epochs: int, resume: Path | None = None) -> None:
        trainer = pl.Trainer(
            max_epochs=epochs,
            callbacks=[Saver(tmp_path, {}, saving)],
            plugins=[SafeIO()],
            **OPTIONS,
        )
        loaders = (DataLoader([torch.zeros(1)] * 2),) * 2
        trainer.fit(Fits([0.3, 0.5, 0.1]), *loaders, ckpt_path=resume, weights_only=True)

    run(1)
    before = (tmp_path / "best-epoch=1.ckpt").read_bytes()
    run(2, tmp_path / "last.ckpt")
    names = {"best-epoch=2.ckpt", "epoch=2.ckpt"}
    for name in names:
        (tmp_path / name).unlink()
        (tmp_path / f"{name}.sha256").unlink()
    (tmp_path / "best-epoch=1.ckpt").write_bytes(before)
    run(2 + more, tmp_path / "last.ckpt")
    assert {p.name for p in tmp_path.glob("*epoch=*.ckpt")} == names
    for name in names:
        assert SafeIO().load_checkpoint(tmp_path / name)["global_step"] == 4


def test_what_is_not_finite_takes_no_good_checkpoints_place(tmp_path: Path) -> None:
    saver, module = Saver(tmp_path, {}), Fits()
    trainer = pl.Trainer(max_epochs=1, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    good = (tmp_path / "last.ckpt").read_bytes(), (tmp_path / "encoder.safetensors").read_bytes()
    with torch.no_grad():
        module.layer.weight.fill_(float("nan"))
    saver.save(trainer, module)
    with pytest.warns(UserWarning, match="step 2 is NOT saved: 1 tensor is not finite"):
        saver.finish()
    assert (tmp_path / "last.ckpt").read_bytes() == good[0]
    assert (tmp_path / "encoder.safetensors").read_bytes() == good[1]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_a_last_state_that_is_not_finite_has_a_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Also behind a step that a full disk did not take."""

    class Breaks(Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                torch.nn.init.constant_(module.layer.weight, torch.nan)

    (tmp_path / "config.json").write_text(to_json(parse_pretrain(["digits", "resnet6_w8"])))
    saver = Saver(tmp_path, {})
    saver.unsaved = "step 1 is NOT saved: the disk is full"
    trainer = pl.Trainer(max_epochs=2, callbacks=[Breaks(), saver], plugins=[SafeIO()], **OPTIONS)
    data = pl.LightningDataModule.from_datasets(*[Subset([torch.zeros(1)] * 2, [0, 1])] * 2)
    with pytest.warns(UserWarning, match="step 4 is NOT saved: 1 tensor is not finite"):
        assert fit(trainer, Fits(), data, None, None, tmp_path) == BROKEN
    said = capsys.readouterr().err
    assert "step 4 is NOT saved: 1 tensor is not finite" in said
    assert SafeIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("what", ["checkpoint", "encoder"])
def test_a_full_disk_or_memory_costs_one_checkpoint_and_no_more(
    tmp_path: Path, what: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer raises RuntimeError on a full disk."""
    saver, module = Saver(tmp_path, {}), Fits()
    trainer = pl.Trainer(max_epochs=1, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise error("PytorchStreamWriter failed writing file data: file write failed")

    monkeypatch.setattr(*((torch, "save") if what == "checkpoint" else (io, "save")), full)
    saver.save(trainer, module)
    with pytest.warns(UserWarning, match="step 2 is NOT saved: .*write failed"):
        saver.finish()
    assert not list(tmp_path.glob("*.new"))
    assert SafeIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    if what == "checkpoint":
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_of_two_reasons_the_newest_is_told(tmp_path: Path) -> None:
    saver = Saver(tmp_path)
    saver.unsaved = "step 1 is NOT saved: the disk is full"

    def fail() -> None:
        raise NotFiniteError("step 2 is NOT saved: not finite")

    saver.background.start(fail)
    with pytest.warns(UserWarning, match="step 2 is NOT saved"):
        saver.finish()
    assert saver.unsaved == ""
    assert saver.outcome() == (BROKEN, "step 2 is NOT saved: not finite")


def test_a_signal_during_the_last_write_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows a training is measured only by a run that nobody has ended."""
    saver = Saver(tmp_path)
    finish, calls = saver.finish, []

    def signalled() -> None:
        calls.append(saver.tried)
        finish()
        if saver.tried == 4 and calls.count(4) == 1:
            interrupts.came = signal.SIGTERM

    monkeypatch.setattr(saver, "finish", signalled)
    trainer = pl.Trainer(max_epochs=2, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    loaders = (DataLoader([torch.zeros(1)] * 2) for _ in range(2))
    try:
        with pytest.raises(Stop, match="SIGTERM: step 4 is saved") as ended:
            trainer.fit(Fits(), *loaders)
    finally:
        interrupts.came = 0
    assert ended.value.code == 128 + signal.SIGTERM


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk whose size can be set by mounting it again."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nobody but root mounts a disk")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.filterwarnings("ignore:step .* is NOT saved.*No space left on device")
@pytest.mark.parametrize("sizes", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_on_a_full_disk_of_any_size_the_last_good_checkpoint_stays(
    small_disk: Path, sizes: int
) -> None:
    """Also where there is room for two of them and not for the third that is being written."""
    draw, saved = random.Random(0), []
    for _ in range(sizes):
        kilobytes = draw.randrange(16, 1800)
        remount = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", remount, str(small_disk)], check=True)
        saver, module = Saver(small_disk, {}), Fits(width=50_000)  # 400 kB, the encoder as much
        trainer = pl.Trainer(max_epochs=3, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
        trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
        assert trainer.global_step == 6
        steps = []
        if (small_disk / "last.ckpt").exists():
            steps = [SafeIO().load_checkpoint(small_disk / "last.ckpt")["global_step"]]
        assert bool(saver.unsaved) or steps == [6]
        assert not list(small_disk.glob("*.new"))
        saved.append((kilobytes, bool(saver.unsaved), steps))
        for file in small_disk.iterdir():
            file.unlink()
    assert all(unsaved for k, unsaved, _ in saved if k < 800)
    assert not any(unsaved for k, unsaved, _ in saved if k > 1700)
    assert all(steps for k, _, steps in saved if k > 450)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_a_folder_that_vanishes_is_said_once_and_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    class Vandal(Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                folder.rename(tmp_path / "elsewhere")  # at once, a write may be under way

    saver = Saver(folder, {})
    trainer = pl.Trainer(max_epochs=5, callbacks=[Vandal(), saver], plugins=[SafeIO()], **OPTIONS)
    data = pl.LightningDataModule.from_datasets(*[Subset([torch.zeros(1)] * 2, [0, 1])] * 2)
    with pytest.warns(UserWarning, match="step 2 is NOT saved|step 4 is NOT saved") as said:
        code = fit(trainer, Fits(), data, None, None, folder)
    assert trainer.global_step == 10
    assert code == NOT_SAVED
    assert len([w for w in said if "NOT saved" in str(w.message)]) == 1
    assert "step 10 is NOT saved: " in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_space_of_a_checkpoint_is_known_before(tmp_path: Path, optimizer: str) -> None:
    module = Fits(width=50_000, optimizer=optimizer)
    plan = plan_space(tmp_path / "new" / "run", module, [module.layer], optimizer, 2)
    trainer = pl.Trainer(max_epochs=1, callbacks=[Saver(tmp_path)], plugins=[SafeIO()], **OPTIONS)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    taken = (tmp_path / "last.ckpt").stat().st_size
    assert plan.checkpoint <= taken < 1.02 * plan.checkpoint + 2**14
    assert plan.most == 5 * plan.checkpoint + 2 * 400_000
    again = plan_space(tmp_path, module, [], optimizer, 2)
    assert again.there == taken
    plan.check()
    assert not plan.is_short
    assert replace(plan, free=plan.checkpoint + 1).is_short
    with pytest.raises(ValueError, match=r"a checkpoint takes \S+ MB, and 0.1 MB are free; delete"):
        replace(plan, free=10**5).check()


class Fits(pl.LightningModule):
    def __init__(
        self, scores: Sequence[float] = (), width: int = 1, optimizer: str = "plain"
    ) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, width)
        self.optimizer = optimizer
        self.scores = scores

    @property
    def evaluated(self) -> torch.nn.Module:
        return self.layer

    def training_step(self, x: torch.Tensor, _: int) -> torch.Tensor:
        return self.layer(x).sum()

    def validation_step(self, x: torch.Tensor, _: int) -> None:
        if self.scores:
            self.log("score", self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            return torch.optim.Adam(self.parameters(), 0.1)
        momentum = 0.9 if self.optimizer == "sgd" else 0.0
        return torch.optim.SGD(self.parameters(), 0.1, momentum=momentum)
