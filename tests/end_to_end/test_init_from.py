"""Training starts from the weights of a run or of a file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import cl
from cl import checkpoints
from cl.nets import encoders
from cl.runs import CONFIG, Run


def start(folder: Path, encoder: str = "resnet6_w8", **more: Any) -> Run:
    """A run that ends before its first step."""
    flags = {"max_steps": 0, "wandb": "off", "report": False, "output": str(folder)}
    return cl.pretrain(encoder, "digits", **flags | more)


def test_an_encoder_starts_from_a_run(tmp_path: Path) -> None:
    first = start(tmp_path, run_id="first")
    other = start(tmp_path, seed=1)
    second = start(tmp_path, seed=1, init_from="first")
    theirs, ours, others = (run.encoder.state_dict() for run in (first, second, other))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert not all(torch.equal(others[key], theirs[key]) for key in theirs)
    with pytest.raises(ValueError, match="holds the weights of resnet6_w8"):
        start(tmp_path, "resnet6_w4", init_from=str(first.folder))
    with pytest.raises(ValueError, match="there is no nowhere"):
        start(tmp_path, init_from="nowhere")


def test_what_a_file_says_of_its_encoder_and_images_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    about = {"encoder": "resnet6_w8", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    checkpoints.save_encoder(encoders.create("resnet6_w8", 32), file, about | {"epsilon": 0.01})
    run = start(tmp_path, init_from=str(file))
    (recipe, *_) = json.loads((run.folder / CONFIG).read_text())["derived"]["recipes"]
    assert (recipe["mean"], recipe["std"]) == (about["mean"], about["std"])
    kept = checkpoints.about_encoder(run.folder / checkpoints.ENCODER)
    assert (kept["mean"], kept["epsilon"]) == (about["mean"], 0.01)
    encoder, _ = cl.load_encoder(run.folder)
    norms = [m.eps for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert set(norms) == {0.01}


def test_a_chosen_stem_is_built_again(tmp_path: Path) -> None:
    run = start(tmp_path, "resnet10t", stem="full")
    encoder, _ = cl.load_encoder(run.folder)
    assert not isinstance(encoder.get_submodule("maxpool"), torch.nn.Identity)


def test_a_run_goes_on_without_the_file_it_started_from(tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    about = {"encoder": "resnet6_w8", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    checkpoints.save_encoder(encoders.create("resnet6_w8", 32), file, about)
    more = {"init_from": str(file), "epochs": 2, "baseline": False, "max_steps": None}
    run = start(tmp_path, **more)
    file.unlink()
    longer = start(tmp_path, **more | {"epochs": 3}, resume_training_from=str(run.folder))
    assert longer.code == 0
    assert checkpoints.about_encoder(run.folder / checkpoints.ENCODER)["mean"] == about["mean"]
