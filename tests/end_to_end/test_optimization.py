"""What optimizes, by the programs and from Python: as it is set, recorded and changed."""

import json
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
    with pytest.raises(ValueError, match=r"--min_lr must be at most the learning rate, 0\.01"):
        cl.evaluate(
            encoder,
            "digits",
            "linear",
            **{**flags, "lr_grid": (0.1, 0.01), "scheduler": "cosine", "min_lr": 0.02},
            output=tmp_path / "python",
            wandb="off",
        )


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
