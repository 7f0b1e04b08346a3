"""The state of the random numbers comes back with the checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cl.callbacks.saver import Saver, Saving
from cl.checkpoints import SafeIO, io


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


def test_what_is_not_finite_takes_no_good_checkpoints_place(tmp_path: Path) -> None:
    saver, module = Saver(tmp_path, {}), Fits()
    trainer = pl.Trainer(max_epochs=1, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    good = (tmp_path / "last.ckpt").read_bytes(), (tmp_path / "encoder.safetensors").read_bytes()
    with torch.no_grad():
        module.layer.weight.fill_(float("nan"))
    with pytest.warns(UserWarning, match="step 2 is NOT saved: 1 tensors are not finite"):
        saver.save(trainer, module)
    assert (tmp_path / "last.ckpt").read_bytes() == good[0]
    assert (tmp_path / "encoder.safetensors").read_bytes() == good[1]


@pytest.mark.parametrize("what", ["checkpoint", "encoder"])
def test_a_full_disk_costs_one_checkpoint_and_no_more(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer raises RuntimeError on it."""
    saver, module = Saver(tmp_path, {}), Fits()
    trainer = pl.Trainer(max_epochs=1, callbacks=[saver], plugins=[SafeIO()], **OPTIONS)
    trainer.fit(module, *(DataLoader([torch.zeros(1)] * 2) for _ in range(2)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data: file write failed")

    monkeypatch.setattr(*((torch, "save") if what == "checkpoint" else (io, "save")), full)
    saver.save(trainer, module)
    with pytest.warns(UserWarning, match="step 2 is NOT saved: .*write failed"):
        saver.finish()
    assert not list(tmp_path.glob("*.new"))
    assert SafeIO().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    if what == "checkpoint":
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


class Fits(pl.LightningModule):
    def __init__(self, scores: Sequence[float] = ()) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
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
        return torch.optim.SGD(self.parameters(), 0.1)
