"""What a method is trained with unless it is said otherwise: it learns, and does not diverge."""

import inspect
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import main_contrastive
from cl import logs
from cl.config import signature
from cl.config.own import Own
from cl.config.parse import parse_pretrain
from cl.config.programs import Pretrain
from cl.config.schema import options_of
from cl.config.store import to_json
from cl.losses.vicreg import vicreg
from cl.methods import get_method
from cl.methods.simclr import SimCLR
from cl.optim import Optimization, groups, lr_factor
from cl.runs import CONFIG
from cl.trainer import check_same_settings, optimization, settings_as_before
from tests.methods.made import OF_IMAGES

DIGITS = ["digits", "resnet6_w16"]
# Rates of 1,000 epochs do not get BYOL above the untrained encoder in 20: docs/methods.md.
SHORT = {"byol": ["--ema_beta", "0.9", "--lr", "1"]}
LOSSES = [name for name in signature.pairwise() if not signature.loss(name).two_views]


def train(folder: Path, *words: str) -> Path:
    """The run's folder; an error of the program, such as exit code 4 for NaN, fails."""
    run = [*DIGITS, *words, "--output", str(folder), "--run_id", "run", "--wandb", "off"]
    assert main_contrastive.main([*run, "--num_workers", "1", "--on_collapse", "stop"]) == 0
    return folder / "run"


@pytest.mark.parametrize("name", OF_IMAGES)
def test_the_defaults_of_a_method_are_settings(name: str) -> None:
    """Those that Python takes too, within their bounds; the file says what the class has."""
    defaults, settings = signature.method(name).defaults, options_of(Pretrain)
    assert defaults == get_method(name).defaults
    assert all(settings[key].check(value) == value for key, value in defaults.items())
    Optimization(**defaults)
    config = parse_pretrain([*DIGITS, "--method", name])
    assert {key: getattr(config, key) for key in defaults} == defaults


@pytest.mark.parametrize("name", OF_IMAGES)
def test_from_python_a_method_is_trained_as_on_the_command_line(name: str) -> None:
    words = [*DIGITS, "--method", name, "--no-lr_scaling", "--epochs", "4"]
    config, module = parse_pretrain(words), nn.Module()
    module.encoder, module.probe = nn.Linear(4, 4), nn.Linear(4, 2)  # with biases
    module.learnable = nn.ParameterDict({"bias": torch.zeros(())})
    line = optimization(
        config,
        bias_lr=config.resolved_bias_lr,
        classifier_lr=config.resolved_classifier_lr,
        learned_lr=config.resolved_learned_lr,
    )
    python = Optimization(**get_method(name).defaults)
    plans = [[lr_factor(o, step, 40, 10) for step in range(40)] for o in (line, python)]
    assert plans[0] == pytest.approx(plans[1])
    rates = [{g["name"]: g["lr"] for g in groups(module, o)} for o in (line, python)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("scheduler", ["warmup_cosine", "step"])
def test_a_run_that_max_steps_cuts_short_has_a_whole_schedule(scheduler: str) -> None:
    """As a run that is planned with as few epochs; what is given holds."""
    line = [*DIGITS, "--scheduler", scheduler]
    short = optimization(parse_pretrain([*line, "--max_steps", "40"]))
    whole = optimization(parse_pretrain([*line, "--epochs", "8"]))
    plans = [[lr_factor(o, step, 40, 5) for step in range(40)] for o in (short, whole)]
    assert plans[0] == plans[1]
    assert (max(plans[0]), min(plans[0][4:]) < 0.02) == (1.0, True)
    given = {"warmup_cosine": "--warmup_epochs", "step": "--lr_decay_steps"}[scheduler]
    o = optimization(parse_pretrain([*line, "--max_steps", "40", given, "2"]))
    seen = [lr_factor(o, step, 40, 5) for step in range(40)]
    assert seen.index(1.0) == (9 if scheduler == "warmup_cosine" else 0)
    assert seen.count(1.0) == (2 if scheduler == "warmup_cosine" else 10)


def test_a_run_of_before_keeps_its_scaled_rate(tmp_path: Path) -> None:
    """Where the same line goes on by itself; unless it says otherwise on purpose."""
    adam = [*DIGITS, "--optimizer", "adam"]
    (tmp_path / CONFIG).write_text(to_json(parse_pretrain([*adam, "--lr_scaling"])))
    config = parse_pretrain(adam)
    assert not config.lr_scaling
    assert settings_as_before(config, tmp_path).lr_scaling
    assert not settings_as_before(replace(config, override=True), tmp_path).lr_scaling
    (tmp_path / CONFIG).write_text(to_json(config))
    assert settings_as_before(config, tmp_path) == config
    (tmp_path / CONFIG).write_text(to_json(replace(config, lr=0.3)))
    assert settings_as_before(config, tmp_path).lr == 0.3
    assert settings_as_before(replace(config, lr=0.01), tmp_path).lr == 0.01


@pytest.mark.parametrize("name", ["barlow_twins", "byol", "lejepa", "relic", "vicreg"])
def test_a_warm_up_starts_at_zero_where_the_authors_does(name: str) -> None:
    """From 0 to the whole rate, a tenth of 100 epochs long; who names an optimizer has its own."""
    line = [*DIGITS, "--method", name, "--scheduler", "warmup_cosine"]
    o = optimization(parse_pretrain(line))
    plan = [lr_factor(o, step, 100, 1) for step in range(11)]
    assert plan[0] == 0
    assert plan[:10] == pytest.approx([step / 9 for step in range(10)])
    assert plan[10] == 1
    assert parse_pretrain([*line, "--optimizer", "sgd"]).warmup_start_lr is None


@pytest.mark.parametrize("name", ["byol", "relic", "vicreg"])
def test_a_run_of_before_keeps_its_warm_up(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Which was from 0.003: by itself, and where a line names the run."""
    config = parse_pretrain([*DIGITS, "--method", name])
    (tmp_path / CONFIG).write_text(to_json(replace(config, warmup_start_lr=None)))
    kept = settings_as_before(config, tmp_path)
    assert kept == replace(config, warmup_start_lr=None)
    assert "keeps --warmup_start_lr 0.003, with which it began" in capsys.readouterr().out
    assert not check_same_settings(kept, tmp_path)
    resumed = parse_pretrain(["--resume_training_from", str(tmp_path)])
    assert resumed.warmup_start_lr is None
    for other in (replace(config, override=True), replace(config, warmup_start_lr=0.01)):
        assert settings_as_before(other, tmp_path) == other
    (tmp_path / CONFIG).write_text(to_json(config))
    assert settings_as_before(config, tmp_path) == config


def test_a_run_of_before_keeps_its_crops(tmp_path: Path) -> None:
    """Where the same line goes on by itself; a line that names the run is compared."""
    line = [*DIGITS, "--recipe", "byol"]
    config, file = parse_pretrain(line), tmp_path / CONFIG
    now = json.loads(to_json(config, {"recipes": [{}]}))
    del now["crop_interpolation"]
    file.write_text(json.dumps(now))
    kept = settings_as_before(config, tmp_path)
    assert kept == replace(config, crop_interpolation="bilinear")
    assert not check_same_settings(kept, tmp_path)
    resumed = parse_pretrain(["--resume_training_from", str(tmp_path)])
    assert resumed.crop_interpolation == "bilinear"
    with pytest.raises(ValueError, match="--crop_interpolation None, was bilinear"):
        check_same_settings(config, tmp_path)
    own = replace(config, encoder=Own(nn.Identity()))  # read as it is: its name is nowhere
    assert settings_as_before(own, tmp_path).crop_interpolation == "bilinear"
    other = parse_pretrain([*DIGITS, "--recipe", "vicreg"])
    assert settings_as_before(other, tmp_path) == other
    file.write_text(to_json(config, {"recipes": [{}]}))
    assert settings_as_before(config, tmp_path) == config


@pytest.mark.parametrize(("name", "lr"), [("adam", 1e-3), ("adamw", 1e-3), ("sgd", 0.3)])
def test_an_optimizer_has_its_usual_rate(name: Any, lr: float) -> None:
    """From Python and on a line, whatever the method's own optimizer is; what is given holds."""
    assert Optimization(optimizer=name).lr == lr
    assert Optimization(optimizer=name, lr=0.5).lr == 0.5
    for more in ([], ["--method", "vicreg"]):
        assert parse_pretrain([*DIGITS, *more, "--optimizer", name]).lr == lr
    assert parse_pretrain([*DIGITS, "--optimizer", name, "--lr", "0.5"]).lr == 0.5


def test_a_loss_brings_its_optimizer_where_the_method_brings_none() -> None:
    """On the command line as in Python; a method's own come first."""
    brought = signature.loss("vicreg").defaults
    assert brought == inspect.getmodule(vicreg).DEFAULTS
    config = parse_pretrain([*DIGITS, "--loss", "vicreg"])
    assert {key: getattr(config, key) for key in brought} == brought
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    for loss in (vicreg, partial(vicreg, variance=1.0)):
        method = SimCLR(encoder, loss, example=torch.zeros(2, 3, 2, 2))
        assert (method.optimization.optimizer, method.optimization.lr) == ("adamw", 1e-3)
    assert parse_pretrain([*DIGITS, "--method", "vicreg"]).optimizer == "lars"
    assert parse_pretrain(DIGITS).optimizer == "sgd"


def test_the_line_wins_and_who_names_an_optimizer_chooses_its_rates() -> None:
    line = [*DIGITS, "--method", "vicreg"]
    assert parse_pretrain([*line, "--lr", "0.5"]).optimizer == "lars"
    assert parse_pretrain([*line, "--lr", "0.5"]).lr == 0.5
    config, usual = parse_pretrain([*line, "--optimizer", "sgd"]), parse_pretrain(DIGITS)
    assert (config.lr, config.weight_decay) == (usual.lr, usual.weight_decay) == (0.3, 1e-4)


@pytest.mark.parametrize("name", ["vicreg", "barlow_twins"])
def test_a_large_batch_does_not_diverge(name: str, tmp_path: Path) -> None:
    words = "--batch_size 256 --max_steps 8 --epochs 2 --no-baseline --warmup_epochs 1".split()
    rows = logs.read_metrics(train(tmp_path, "--method", name, *words) / "metrics.csv")
    assert all(math.isfinite(float(row["train/loss"])) for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "words",
    [*(["--method", name] for name in OF_IMAGES), *(["--loss", name] for name in LOSSES)],
    ids=" ".join,
)
def test_it_learns_at_its_defaults(words: list[str], tmp_path: Path) -> None:
    words = [*words, *SHORT.get(words[1], ()), "--epochs", "20"]
    found = json.loads((train(tmp_path, *words) / "result.json").read_text())
    assert found["trained"]["knn_top1"] > found["untrained"]["knn_top1"]
