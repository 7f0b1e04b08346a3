"""A method and a loss of the user's own: one file outside of `cl`, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cl.config import parse_pretrain
from tests.end_to_end.test_devices import REPOSITORY, same_run

Run = Callable[..., Path]
OWN = '''"""Of somebody who has an idea."""

import torch
from torch import nn

from cl.bounds import Count
from cl.distributed import gather
from cl.losses import PairwiseLoss
from cl.methods._base import Method
from cl.nets.heads import each_view


class Plain(Method):
    """A linear map and a loss.

    Args:
        loss: of the embeddings.
        directions: of the map (as many as one likes)
    """

    def __init__(self, encoder, loss: PairwiseLoss, *, directions: Count = 8, **base):
        super().__init__(encoder, **base)
        self.projector, self.loss = nn.Linear(self.width, directions), loss

    def objective(self, h, labels):
        return self.loss(*gather(each_view(self.projector, h)))


def close(z, ids=None, rows=slice(None), *, weight: float = 1.0):
    """How far views are from each other.

    Args:
        weight: of it
    """
    return weight * (z[0, rows] - z[1, rows]).square().mean()
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module's name."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def words_of(own: str, digits: list[str]) -> list[str]:
    """Digits' words without those that only our heads have."""
    heads = [digits.index(flag) for flag in ("--hidden_mlp", "--encoding_size")]
    left = [w for i, w in enumerate(digits) if i not in heads and i - 1 not in heads]
    words = ["--method", f"{own}:Plain", "--loss", f"{own}:close", "--directions", "5"]
    return [*left, *words, "--weight", "0.5", "--max_steps", "2", "--log_every_n_steps", "1"]


def test_it_trains_repeats_and_is_evaluated(
    own: str, pretrain: Run, linear: Run, digits: list[str]
) -> None:
    run = pretrain(*words_of(own, digits), "--no-baseline")
    config = json.loads((run / "config.json").read_text())
    assert config["method_options"]["directions"] == 5
    assert config["loss_options"] == {"weight": 0.5}
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert state["projector.weight"].shape == (5, 32)
    again = pretrain("--config", run / "config.json", run_id="again")
    same_run(run, again)
    given = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, "--num_workers", "1"]
    assert (linear(*given, "--eval", "knn") / "cards.json").exists()


def test_it_trains_on_two_processes(
    own: str, pretrain: Run, digits: list[str], tmp_path: Path
) -> None:
    words = [*words_of(own, digits), "--no-baseline"]
    one = pretrain(*words, run_id="one")
    words += ["--devices", "2", "--global_batch_size", "128", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "main_contrastive.py", *words, "--run_id", "two", "--wandb", "off"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{tmp_path}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    same_run(one, tmp_path / "two")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--method nowhere.at_all:It", "Python finds no module nowhere.at_all"),
        ("--directions 5", "--directions needs --method lejepa"),
        ("--method cl.methods.byol:Nothing", "the module has no such class"),
        ("--loss cl.losses.dcl:nothing", "the module has no such function"),
        ("--loss cl.losses.cosine:cosine", r"does not take \(z, ids, rows\)"),
    ],
)
def test_what_is_not_there_is_said(words: str, message: str, digits: list[str]) -> None:
    with pytest.raises(ValueError, match=message):
        parse_pretrain([*digits, *words.split()])


def test_its_options_are_checked(own: str, digits: list[str]) -> None:
    words = [*words_of(own, digits), "--directions", "0"]
    with pytest.raises(ValueError, match="--directions must be at least 1, not 0"):
        parse_pretrain(words)


def test_it_takes_more_views_than_two(own: str, digits: list[str]) -> None:
    """A loss whose parameters have no types may take any number of views."""
    assert parse_pretrain([*words_of(own, digits), "--n_crops", "3"]).n_crops == 3


def test_a_module_that_is_no_python_is_said(own: str, digits: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken_module.py").write_text("class (:\n")
    with pytest.raises(ValueError, match="is not valid Python"):
        parse_pretrain([*digits, "--method", "broken_module:It"])
