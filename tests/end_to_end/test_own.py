"""A method, a loss and a schedule of the user's own: one file outside of `cl`, nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cl import trainer
from cl.config import parse_pretrain
from cl.metrics import read_metrics
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
        widths_of_it: of the map (as many as one likes)
    """

    def __init__(self, encoder, loss: PairwiseLoss, *, widths_of_it: Count = 8, **base):
        super().__init__(encoder, loss, **base)
        self.projector = nn.Linear(self.width, widths_of_it)

    def objective(self, h, labels):
        return self.loss(*gather(each_view(self.projector, h)))


def close(z, ids=None, rows=slice(None), *, weight: float = 1.0):
    """How far views are from each other.

    Args:
        weight: of it
    """
    return weight * (z[0, rows] - z[1, rows]).square().mean()


def triangle(done):
    """Straight up and down again."""
    return 1 - abs(2 * done - 1)


def wave(epoch, *, lr_decay_rate=0.7):
    """Smaller in each second epoch."""
    return lr_decay_rate ** (epoch % 2)


def of_time(seconds):
    """No function of the step."""
    return seconds
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
    words = ["--method", f"{own}:Plain", "--loss", f"{own}:close", "--widths_of_it", "5"]
    words += ["--scheduler", f"{own}:triangle", "--warmup_epochs", "0"]
    words += ["--schedule", f"weight={own}:triangle:0.25"]
    return [*left, *words, "--weight", "0.5", "--max_steps", "4", "--log_every_n_steps", "1"]


def test_it_trains_repeats_and_is_evaluated(
    own: str, pretrain: Run, linear: Run, digits: list[str]
) -> None:
    run = pretrain(*words_of(own, digits), "--no-baseline")
    config = json.loads((run / "config.json").read_text())
    assert config["method_options"]["widths_of_it"] == 5
    assert config["loss_options"] == {"weight": 0.5}
    rows = read_metrics(run / "metrics.csv")
    assert [float(r["lr"]) / 0.15 for r in rows if r["lr"]] == [
        0.0,
        0.5,
        1.0,
        0.5,
        0.5,
    ]  # after the step
    weights = [float(r["schedule/weight"]) for r in rows if r["schedule/weight"]]
    assert weights == [0.25, 0.375, 0.5, 0.375, 0.375]  # and the epoch
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert state["projector.weight"].shape == (5, 32)
    again = pretrain("--config", run / "config.json", run_id="again")
    same_run(run, again)
    given = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, "--num_workers", "1"]
    assert (linear(*given, "--eval", "knn") / "cards.json").exists()


@pytest.mark.slow
def test_it_trains_on_two_processes(
    own: str, pretrain: Run, digits: list[str], tmp_path: Path
) -> None:
    words = [*words_of(own, digits), "--no-baseline", "--precision", "64"]
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
        ("--widths_of_it 5", "unknown flag --widths_of_it"),
        ("--method cl.methods.byol:Nothing", "the module has no such class"),
        ("--loss cl.losses.dcl:nothing", "the module has no such function"),
        ("--loss cl.losses.cosine:cosine", r"does not take \(z, ids, rows\)"),
        ("--scheduler cl.schedules.step:nothing", "the module has no such function"),
        ("--schedule temperature=cl.schedules.step:step:1", "must be a function of done, not of e"),
        ("--scheduler stepp", "unknown scheduler stepp; did you mean step"),
    ],
)
def test_what_is_not_there_is_said(words: str, message: str, digits: list[str]) -> None:
    with pytest.raises(ValueError, match=message):
        parse_pretrain([*digits, *words.split()])


def test_a_schedule_may_ask_for_options(own: str, digits: list[str]) -> None:
    """Its own default holds where the option is not given, and a warm-up stands before it."""
    from cl.optim import lr_factor

    words = [*digits, "--scheduler", f"{own}:wave", "--warmup_epochs", "1"]
    for more, rate in ([], 0.7), (["--lr_decay_rate", "0.5"], 0.5):
        o = trainer.optimization(parse_pretrain([*words, *more]))
        assert [lr_factor(o, step, 8, 2) for step in (1, 2, 4, 6)] == [1, rate, 1, rate]
    with pytest.raises(ValueError, match="must be a function of done or epoch, not of seconds"):
        parse_pretrain([*digits, "--scheduler", f"{own}:of_time"])
    with pytest.raises(ValueError, match="--lr_decay_rate needs --scheduler"):
        parse_pretrain([*digits, "--scheduler", f"{own}:triangle", "--lr_decay_rate", "0.5"])


def test_its_options_are_checked(own: str, digits: list[str]) -> None:
    words = [*words_of(own, digits), "--widths_of_it", "0"]
    with pytest.raises(ValueError, match="--widths_of_it must be at least 1, not 0"):
        parse_pretrain(words)


def test_it_takes_more_views_than_two(own: str, digits: list[str]) -> None:
    """A loss whose parameters have no types may take any number of views."""
    assert parse_pretrain([*words_of(own, digits), "--n_crops", "3"]).n_crops == 3


def test_a_module_that_is_no_python_is_said(own: str, digits: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken_module.py").write_text("class (:\n")
    with pytest.raises(ValueError, match="is not valid Python"):
        parse_pretrain([*digits, "--method", "broken_module:It"])
