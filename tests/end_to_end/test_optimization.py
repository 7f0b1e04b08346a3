"""What optimizes, by the programs and from Python: as it is set, recorded and changed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cl
import main_contrastive
from cl.checkpoints import read_encoder
from cl.metrics import read_metrics

Run = Callable[..., Path]
ADAM = ["--optimizer", "adamw", "--lr", "0.01", "--betas", "0.9", "0.95", "--adam_eps", "1e-6"]
ADAM += ["--min_lr", "0.001", "--no-baseline", "--log_every_n_steps", "1"]
SAME: dict[str, Any] = {"optimizer": "adamw", "lr": 0.01, "betas": (0.9, 0.95), "adam_eps": 1e-6}
SAME |= {"min_lr": 0.001, "baseline": False, "log_every_n_steps": 1, "max_steps": 6}
DIGITS: dict[str, Any] = {"epochs": 2, "batch_size": 128, "num_workers": 1, "hidden_mlp": 64}
DIGITS |= {"encoding_size": 32, "precision": "32", "warmup_epochs": 1}


def in_checkpoint(run: Path) -> dict[str, Any]:
    """The first parameter group of a run's optimizer."""
    found = torch.load(run / "last.ckpt", weights_only=True)
    return found["optimizer_states"][0]["param_groups"][0]


def rates(run: Path) -> list[float]:
    """The learning rate of each step."""
    by_step = {row["step"]: row["lr"] for row in read_metrics(run / "metrics.csv")}
    return [float(lr) for lr in by_step.values() if lr]


def test_a_run_of_adam_with_its_own_betas(
    pretrain: Run, digits: list[str], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """By the program and from Python the same; with `--override` it goes on with others."""
    run = pretrain(*digits, *ADAM, "--max_steps", "6")
    assert "adamw 0.01 (warmup_cosine to 0.001)" in capsys.readouterr().out
    made = cl.pretrain(
        "resnet6_w8",
        "digits",
        output=tmp_path / "python",
        wandb="off",
        report=False,
        **DIGITS,
        **SAME,
    )
    ours, theirs = (read_encoder(each / "encoder.safetensors") for each in (run, made.folder))
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    config = json.loads((run / "config.json").read_text())
    given = {"betas": [0.9, 0.95], "adam_eps": 1e-6, "min_lr": 0.001}
    assert {name: config[name] for name in given} == given
    assert (*in_checkpoint(run)["betas"], in_checkpoint(run)["eps"]) == (0.9, 0.95, 1e-6)
    changed = ["--betas", "0.5", "0.6", "--adam_eps", "1e-4", "--min_lr", "0.002"]
    words = ["--config", str(run), "--resume_training_from", str(run), "--max_steps", "9", *changed]
    assert main_contrastive.main(words) == 2
    assert "--override changes all of it on purpose" in capsys.readouterr().err
    assert main_contrastive.main([*words, "--override"]) == 0
    assert (*in_checkpoint(run)["betas"], in_checkpoint(run)["eps"]) == (0.5, 0.6, 1e-4)
    config = json.loads((run / "config.json").read_text())
    assert (config["betas"], config["adam_eps"], config["min_lr"]) == ([0.5, 0.6], 1e-4, 0.002)


@pytest.fixture
def encoder(pretrain: Run, digits: list[str]) -> Path:
    return pretrain(*digits, "--no-baseline", "--max_steps", "2")


EVALUATION = ["--num_workers", "1", "--precision", "32", "--batch_size", "128", "--lr", "0.1"]
EVALUATION += ["--epochs", "100", "--max_steps", "10", "--log_every_n_steps", "1"]


@pytest.mark.parametrize("how", [["linear"], ["linear", "--augment"], ["finetune"]], ids=" ".join)
def test_the_steps_of_an_evaluation_are_of_those_that_it_takes(
    how: list[str], encoder: Path, linear: Run
) -> None:
    """`--max_steps` ends it before the first of 100 epochs does, at 60 and 80 % the rate drops."""
    words = ["--pretrained_feature_extractor", encoder, "--eval", *how, *EVALUATION]
    done = linear(*words)
    assert rates(done) == pytest.approx([0.1] * 6 + [0.01] * 2 + [0.001] * 2)
    (card,) = json.loads((done / "cards.json").read_text())["derived"]["cards"]
    batches = 12 if how == ["linear"] else 11  # an incomplete one of images is dropped
    assert card["how"]["lr_decay_epochs"] == pytest.approx([6 / batches, 8 / batches])
    whole = linear(*words, "--lr_decay_steps", "60", "80", run_id="given")
    assert rates(whole) == pytest.approx([0.1] * 10)


def test_an_evaluation_ends_at_min_lr(encoder: Path, linear: Run, tmp_path: Path) -> None:
    words = ["--pretrained_feature_extractor", encoder, *EVALUATION]
    end = ["--scheduler", "cosine", "--min_lr", "0.02"]
    done = linear(*words, *end)
    whole = linear(*words, *end[:2], run_id="whole")
    expected = [0.02 + 0.8 * rate for rate in rates(whole)]
    assert rates(done) == pytest.approx(expected, rel=1e-5)  # six digits are written
    flags = {"epochs": 100, "batch_size": 128, "precision": "32", "num_workers": 1}
    results = cl.evaluate(
        encoder,
        "digits",
        "linear",
        **{**flags, "lr": 0.1, "max_steps": 10, "scheduler": "cosine", "min_lr": 0.02},
        output=tmp_path / "python",
        wandb="off",
        report=False,
    )
    found = json.loads((done / "result.json").read_text())["linear"]
    assert results["linear"].numbers["top1"] == found["top1"]


@pytest.mark.parametrize(
    ("options", "of"),
    [
        ({"lr_grid": (0.1, 0.01)}, "--lr_grid"),
        ({}, "0.1 0.3 0.03 1 0.01, which are tried without --lr"),
    ],
)
def test_min_lr_above_a_rate_that_is_tried(
    options: dict[str, Any], of: str, encoder: Path, tmp_path: Path
) -> None:
    """A usual rate (0.1) is not what is tried, so it says nothing of what `--min_lr` may be."""
    flags: dict[str, Any] = {"scheduler": "cosine", "output": tmp_path, "wandb": "off"}
    least = re.escape(f"the learning rate, 0.01, not 0.02; it is the least of {of}")
    with pytest.raises(ValueError, match=f"--min_lr must be at most {least}$"):
        cl.evaluate(encoder, "digits", "linear", **flags, **options, min_lr=0.02)
    high: dict[str, Any] = {"lr_grid": (1.0, 3.0), "epochs": 1, "report": False}
    done = cl.evaluate(encoder, "digits", "linear", **flags, **high, min_lr=0.5)
    assert done["linear"].chosen["lr"] >= 1


def test_alpha_of_low_rank_updates(
    encoder: Path, linear: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """With plain SGD updates that count k times move as if their rate were k times as large, twice.

    One step from B = 0 moves B alone, by k times as much, and counts it k times.
    """
    words = ["--pretrained_feature_extractor", encoder, *EVALUATION, "--eval", "finetune"]
    words += ["--lora_rank", "2", "--momentum", "0", "--max_steps", "1", "--lr", "1"]
    before = read_encoder(encoder / "encoder.safetensors")["stage1.0.conv.weight"]
    moved = {}
    for alpha in (None, 6):
        more = [] if alpha is None else ["--lora_alpha", alpha]
        done = linear(*words, *more, run_id=f"alpha{alpha}")
        moved[alpha] = read_encoder(done / "encoder.safetensors")["stage1.0.conv.weight"] - before
        (card,) = json.loads((done / "cards.json").read_text())["derived"]["cards"]
        assert card["how"]["lora_alpha"] == alpha
    torch.testing.assert_close(moved[6], 9 * moved[None], rtol=1e-3, atol=1e-6)
    assert moved[6].abs().max() > 1e-3
    linear(*words[:-7], "--lora_alpha", "4", run_id="without", expect=2)
    assert "--lora_alpha needs --lora_rank." in capsys.readouterr().err


def test_layers_of_a_pretrained_encoder_learn_at_rates_of_their_own(
    encoder: Path, pretrain: Run, digits: list[str], capsys: pytest.CaptureFixture
) -> None:
    """The stem of ResNet-6 has five layers above it; what starts at random learns at --lr."""
    words = [*digits, "--init_from", encoder, "--layer_decay", "0.5", "--optimizer", "adamw"]
    words += ["--lr", "0.01", "--no-baseline", "--log_every_n_steps", "1"]
    run = pretrain(*words, "--max_steps", "2", run_id="further")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())  # the row has two lines
    assert "layers 0.000313 to 0.005, probe 0.003" in shown
    config = json.loads((run / "config.json").read_text())
    assert config["layer_decay"] == 0.5
    assert config["derived"]["layer_rates"] == pytest.approx([0.01 / 32, 0.01 / 2])
    assert initial_rates(run)["encoder"] == 0.01
    assert initial_rates(run)["encoder/layers_above_5"] == pytest.approx(0.01 / 32)
    again = ["--config", run, "--resume_training_from", run, "--max_steps", "4", "--override"]
    assert main_contrastive.main([*map(str, again), "--layer_decay", "0.25"]) == 0
    assert initial_rates(run)["encoder/layers_above_5"] == pytest.approx(0.01 / 4**5)
    plain = pretrain(*digits, "--init_from", encoder, "--max_steps", "1", run_id="plain")
    again = ["--config", plain, "--resume_training_from", plain, "--max_steps", "2", "--override"]
    capsys.readouterr()
    assert main_contrastive.main([*map(str, again), "--layer_decay", "0.25"]) == 2
    assert "not --layer_decay on purpose" in capsys.readouterr().err


def initial_rates(run: Path) -> dict[str, float]:
    """The learning rate of each parameter group at its height, by the groups' names."""
    found = torch.load(run / "last.ckpt", weights_only=True)["optimizer_states"][0]
    return {group["name"]: group["initial_lr"] for group in found["param_groups"]}


def test_fine_tuning_by_layers(
    encoder: Path, linear: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One step of SGD moves each layer by its rate; from Python the result is the program's."""
    words = ["--pretrained_feature_extractor", encoder, *EVALUATION, "--eval", "finetune"]
    words += ["--max_steps", "1", "--momentum", "0"]
    before = read_encoder(encoder / "encoder.safetensors")
    moved = {}
    for decay in (None, 0.5):
        done = linear(
            *words, *([] if decay is None else ["--layer_decay", decay]), run_id=f"d{decay}"
        )
        after = read_encoder(done / "encoder.safetensors")
        moved[decay] = {name: after[name] - value for name, value in before.items()}
    assert "sgd 0.1 (step), layers 0.00313 to 0.05" in " ".join(capsys.readouterr().out.split())
    config = json.loads((done / "config.json").read_text())
    assert config["eval_options"]["layer_decay"] == 0.5
    (card,) = json.loads((done / "cards.json").read_text())["derived"]["cards"]
    rates = [0.1 / 32, 0.1 / 2]
    for found in (config["derived"]["layer_rates"], card["how"]["layer_rates"]):
        assert found == pytest.approx(rates)
    for name, layers in {"stem.conv.weight": 5, "stage1.0.conv.weight": 4, "stage2.1": 1}.items():
        for key in (key for key in before if key.startswith(name) and "running" not in key):
            if before[key].is_floating_point():
                expected = moved[None][key] / 2**layers
                torch.testing.assert_close(moved[0.5][key], expected, rtol=1e-2, atol=1e-7)
    flags = {"epochs": 100, "batch_size": 128, "precision": "32", "num_workers": 1, "lr": 0.1}
    flags |= {"max_steps": 1, "momentum": 0.0, "layer_decay": 0.5, "wandb": "off", "report": False}
    found = cl.evaluate(encoder, "digits", "finetune", output=tmp_path / "python", **flags)
    trained = found["finetune"].encoder.state_dict()
    assert all(torch.equal(trained[name], weight) for name, weight in after.items())
    linear(*words, "--layer_decay", "0.5", "--lora_rank", "2", run_id="both", expect=2)
    assert "--layer_decay cannot be used with --lora_rank." in capsys.readouterr().err
