"""A run that has ended is trained longer."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import cl
from cl.checkpoints import LAST, SafeIO
from cl.runs import CONFIG, Run
from cl.runs.files import RESULT
from cl.runs.listing import read_run

SHORT: dict[str, Any] = {
    "hidden_mlp": 16,
    "encoding_size": 8,
    "batch_size": 256,
    "wandb": "off",
    "report": False,
    "baseline": False,
}


class Unlabeled(Dataset):
    """Noise, of which nothing is to be learned."""

    def __init__(self) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (512, 8, 8, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> np.ndarray:
        return self.images[at]


def pretrain(folder: Path, data: Any = "digits", **more: Any) -> Run:
    return cl.pretrain("resnet6_w8", data, output=str(folder), **SHORT | more)


def tensors(run: Run) -> dict[str, torch.Tensor]:
    state = SafeIO().load_checkpoint(run.folder / LAST)
    moments = state["optimizer_states"][0]["state"]
    found = {f"{k}/{name}": x for k, each in moments.items() for name, x in each.items()}
    return found | state["state_dict"]


@pytest.mark.parametrize("limit", [{}, {"max_steps": 10}])  # of 5 an epoch
def test_under_a_constant_rate_it_is_the_run_that_was_as_long_from_the_start(
    tmp_path: Path, limit: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    constant = {"scheduler": "warmup_none", "warmup_epochs": 1}
    short = pretrain(tmp_path / "a", epochs=3 if limit else 2, **limit, **constant)
    longer = pretrain(tmp_path / "a", epochs=3, resume_training_from=str(short.folder), **constant)
    whole = pretrain(tmp_path / "b", epochs=3, **constant)
    assert "was 2" in (out := capsys.readouterr().out) or "max_steps None, was 10" in out
    assert "as long from the start" in out
    ours, theirs = tensors(longer), tensors(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    keep = [{k: v for k, v in row.items() if k != "images_per_s"} for row in longer.history]
    assert keep == [{k: v for k, v in r.items() if k != "images_per_s"} for r in whole.history]
    assert json.loads((longer.folder / CONFIG).read_text())["epochs"] == 3


def test_epochs_are_counted_up_to_the_one_in_which_max_steps_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five steps each; also of a run that goes on after a cut epoch."""
    run = pretrain(tmp_path, max_steps=7, scheduler="none")
    assert epochs_of(capsys) == ["epoch 1/2", "epoch 2/2"]
    assert read_run(run.folder).epochs_shown == "2"
    longer = {"max_steps": 14, "resume_training_from": str(run.folder), "scheduler": "none"}
    pretrain(tmp_path, **longer)
    assert epochs_of(capsys) == ["epoch 3/4", "epoch 4/4"]


def epochs_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr().out.splitlines()
    return [line.partition("  ")[0] for line in said if line.startswith("epoch ")]


def test_a_run_does_not_become_shorter(tmp_path: Path) -> None:
    run = pretrain(tmp_path, epochs=2)
    with pytest.raises(ValueError, match="--epochs 1, was 2"):
        pretrain(tmp_path, epochs=1, resume_training_from=str(run.folder))


@pytest.mark.parametrize(
    ("data", "length", "done"),
    [
        ("digits", {}, "2 of 2 epochs, 10 of 10 steps"),
        ("digits", {"max_steps": 7}, "7 of 7 steps"),
        (Unlabeled(), {}, "2 of 2 epochs, 2 of 2 steps"),
    ],
)
def test_a_run_that_had_ended_says_so_and_repeats_its_last_lines(
    tmp_path: Path,
    data: Any,
    length: dict[str, int],
    done: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = {"epochs": 2, "baseline": True, "run_id": "r", **length}
    run = pretrain(tmp_path, data, **more)
    _, _, lines = capsys.readouterr().out.rpartition("\n\n")
    reached, rows = (run.folder / RESULT).exists(), run.history
    assert ("online probe" in lines) is reached is isinstance(data, str)
    again = pretrain(tmp_path, data, auto_resume=True, **more)
    first, ended, repeated = capsys.readouterr().out.split("\n\n")
    assert first == f"going on with {run.folder}"  # and no table
    assert ended == f"ended             {done}: nothing was left to train"
    assert repeated == lines
    assert again.code == 0
    assert again.history == rows
    one = again.encoder.state_dict(), run.encoder.state_dict()
    assert all(torch.equal(one[0][name], one[1][name]) for name in one[1])


@pytest.mark.usefixtures("reports")
def test_a_run_that_had_ended_keeps_its_page_and_what_is_missing_is_drawn(tmp_path: Path) -> None:
    """What is asked for besides is made too."""
    more: dict[str, Any] = {"epochs": 1, "run_id": "r", "report": True}
    run = pretrain(tmp_path, **more)
    files = [run.folder / name for name in ("report.html", "curves.png", "views.png")]
    for file in files:
        file.write_bytes(b"kept")
    again = more | {"auto_resume": True}
    pretrain(tmp_path, **again, logger="tensorboard", show_views=str(tmp_path / "shown.png"))
    pretrain(tmp_path, **again, logger="tensorboard")
    assert [file.read_bytes() for file in files] == [b"kept"] * 3
    assert (tmp_path / "shown.png").exists()
    assert (run.folder / "tensorboard").exists()
    page, curves, views = files
    curves.unlink()
    pretrain(tmp_path, **again)
    assert curves.read_bytes()[:4] == b"\x89PNG"
    assert (page.read_bytes(), views.read_bytes()) == (b"kept", b"kept")
    views.unlink()
    pretrain(tmp_path, **again)
    assert "<h2>Pictures</h2>" in page.read_text()  # which shows them
    page.write_bytes(b"older")
    os.utime(page, ns=(0, 0))
    pretrain(tmp_path, **again)
    assert page.read_bytes() != b"older"


@pytest.mark.filterwarnings("default:.* is damaged or half written:UserWarning")
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_with_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more: dict[str, Any] = {"epochs": 2, "run_id": "r"}
    run = pretrain(tmp_path, **more)
    state = bytearray((run.folder / LAST).read_bytes())
    state[len(state) // 2] ^= 1  # a number of a tensor: read, it is a checkpoint of the last step
    (run.folder / LAST).write_bytes(state)
    capsys.readouterr()
    pretrain(tmp_path, auto_resume=True, **more)
    said = capsys.readouterr()
    assert f"{LAST} is damaged" in said.err
    assert "global batch" in said.out
    assert "nothing was left to train" not in said.out
