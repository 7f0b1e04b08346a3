"""A run that has ended is trained longer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import cl
from cl.checkpoints import LAST, SafeIO
from cl.runs import CONFIG, Run

SHORT: dict[str, Any] = {
    "hidden_mlp": 16,
    "encoding_size": 8,
    "batch_size": 256,
    "wandb": "off",
    "report": False,
    "baseline": False,
}


def pretrain(folder: Path, **more: Any) -> Run:
    return cl.pretrain("resnet6_w8", "digits", output=str(folder), **SHORT, **more)


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


def test_a_run_does_not_become_shorter(tmp_path: Path) -> None:
    run = pretrain(tmp_path, epochs=2)
    with pytest.raises(ValueError, match="--epochs 1, was 2"):
        pretrain(tmp_path, epochs=1, resume_training_from=str(run.folder))
