"""Whole runs: what they leave behind, how they resume, what the linear evaluation makes of them."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cl.build import build_method
from cl.config import parse_pretrain
from cl.methods.simsiam import SimSiam
from cl.metrics import MONITORS, read_metrics
from cl.nets.encoders import create
from cl.nets.heads import view_by_view
from tests.methods.made import OF_IMAGES as METHODS

Run = Callable[..., Path]
REPOSITORY = Path(__file__).parents[2]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_what_it_promises_and_linear_evaluation_takes_it(
    pretrain: Run, linear: Run, digits: list[str], capsys: pytest.CaptureFixture
) -> None:
    run = pretrain(*digits)
    said = capsys.readouterr().out
    names = {p.name for p in run.iterdir()}
    assert {"config.json", "last.ckpt", "encoder.safetensors", "metrics.csv"} <= names
    rows = read_metrics(run / "metrics.csv")
    assert [int(r["step"]) for r in rows] == [11, 22]
    for column in (
        "train/loss",
        "val/probe_top1",
        "val/knn_top1",
        "lr",
        "images_per_s",
        *MONITORS,
    ):
        assert all(r[column] for r in rows), column
    result = json.loads((run / "result.json").read_text())
    assert result.keys() == {"untrained", "trained"}
    assert str(run) in said
    assert f"main_linear.py --pretrained_feature_extractor {run}" in said
    for when in ("untrained", "trained"):
        assert f"{100 * result[when]['linear_top1']:.1f}" in said

    before = (run / "encoder.safetensors").read_bytes()
    words = (
        "digits resnet6_w8 --epochs 5 --lr_decay_steps 3 --batch_size 128 "
        f"--precision 32 --pretrained_feature_extractor {run}"
    ).split()
    evaluated = linear(*words)
    assert (run / "encoder.safetensors").read_bytes() == before
    found = json.loads((evaluated / "result.json").read_text())
    assert 0.1 < found["linear"]["top1"] <= found["linear"]["top5"] <= 1
    assert found["encoder"] == found["encoder_afterwards"]
    capsys.readouterr()
    again = json.loads((linear(*words, run_id="again") / "result.json").read_text())
    assert "cached" in capsys.readouterr().out
    assert again == found


@pytest.mark.parametrize(
    ("steps", "more"),
    [
        pytest.param(5, [], marks=pytest.mark.slow),
        (11, []),
        (16, ["--ema_encoder", "0.9"]),
        pytest.param(16, ["--baseline"], marks=pytest.mark.slow),
        (5, ["--method", "sigmoid", "--temperature", "0.2", "--bias", "-5"]),
    ],
)
def test_resumed_is_uninterrupted_bit_for_bit(
    pretrain: Run, digits: list[str], steps: int, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted inside an epoch, at its end, and inside the second one."""
    digits += ["--no-baseline", *more]
    whole = pretrain(*digits, run_id="whole")
    from cl.callbacks.saver import Saver

    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: object, *rest: object) -> None:
        if trainer.global_step == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*digits, run_id="part", expect=143)
    monkeypatch.undo()
    assert not same(weights(whole), weights(part))
    config = ("--config", part / "config.json", "--resume_training_from", part)
    import main_contrastive

    assert main_contrastive.main([str(w) for w in config]) == 0
    assert same(weights(whole), weights(part))
    if "--baseline" in more:  # the untrained encoder is that of the start
        results = [json.loads((run / "result.json").read_text()) for run in (whole, part)]
        assert results[0] == results[1]
    a, b = (read_metrics(run / "metrics.csv") for run in (whole, part))
    drop = {"images_per_s"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in a] == [
        {k: v for k, v in row.items() if k not in drop} for row in b
    ]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, digits: list[str]) -> None:
    argv = [*digits, "--output", str(tmp_path), "--wandb", "off", "--run_id", "run"]
    argv[argv.index("--epochs") + 1] = "200"
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "main_contrastive.py"), *argv, "--no-baseline"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    metrics = tmp_path / "run" / "metrics.csv"
    while len(read_metrics(metrics)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume_training_from" in said
    assert "Traceback" not in said
    assert (tmp_path / "run" / "last.ckpt").exists()
    assert load_file(tmp_path / "run" / "encoder.safetensors")


def test_steps_that_end_inside_an_epoch_are_validated_too(pretrain: Run, digits: list[str]) -> None:
    """11 steps are an epoch: what the run reaches is not what it had reached at the 11th."""
    run = pretrain(*digits, "--max_steps", 13, "--no-baseline")
    with (run / "metrics.csv").open() as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    assert all(rows[step]["val/probe_top1"] for step in (11, 13))
    assert rows[11]["val/probe_top1"] != rows[13]["val/probe_top1"]


def test_a_run_is_not_overwritten(
    pretrain: Run, digits: list[str], capsys: pytest.CaptureFixture
) -> None:
    pretrain(*digits, "--max_steps", 1, "--no-baseline")
    pretrain(*digits, "--max_steps", 1, "--no-baseline", expect=2)
    assert "--resume_training_from" in capsys.readouterr().err


def test_the_encoder_file_is_timms(pretrain: Run, folder: Path) -> None:
    import timm

    run = pretrain(
        *"imagenet100 resnet18 --train_dir imagenet-100/train --val_dir imagenet-100/test "
        "--batch_size 8 --max_steps 1 --precision 32 --num_workers 0 --no-baseline "
        "--image_size 80 --hidden_mlp 32".split(),
        "--data_folder",
        folder,
    )
    model = timm.create_model("resnet18", num_classes=0)
    model.load_state_dict(load_file(run / "encoder.safetensors"), strict=True)


def test_mismatches_are_refused_in_words(
    pretrain: Run, linear: Run, digits: list[str], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    run = pretrain(*digits, "--max_steps", 1, "--no-baseline")
    capsys.readouterr()
    linear(*"digits resnet6_w16 --epochs 1 --pretrained_feature_extractor".split(), run, expect=2)
    assert "resnet6_w8" in capsys.readouterr().err
    import main_contrastive

    words = ["--config", run / "config.json", "--resume_training_from", run, "--batch_size", 64]
    assert main_contrastive.main([str(w) for w in words]) == 2
    assert "--batch_size" in capsys.readouterr().err


def test_a_collapse_ends_the_run_when_asked(
    pretrain: Run, digits: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from cl.methods.simclr import SimCLR

    made = SimCLR.__init__

    def dead(self: SimCLR, *args: object, **kwargs: object) -> None:
        made(self, *args, **kwargs)
        torch.nn.init.zeros_(self.projector[-1].weight)
        self.projector[-1].requires_grad_(False)

    monkeypatch.setattr(SimCLR, "__init__", dead)
    pretrain(*digits, "--no-baseline", "--on_collapse", "stop", expect=3)
    assert "COLLAPSED" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method",
    [m if i % 4 == 0 else pytest.param(m, marks=pytest.mark.slow) for i, m in enumerate(METHODS)],
)
@pytest.mark.filterwarnings("ignore:--precision bf16. this processor emulates bf16")
def test_every_method_runs_in_bf16(method: str, pretrain: Run, digits: list[str]) -> None:
    """As `auto` is where the hardware has it: a first epoch to its end, with all that looks."""
    digits[digits.index("--precision") + 1] = "bf16"
    words = ["--method", method, "--max_steps", "2", "--no-baseline"]
    words += ["--scheduler", "warmup_cosine"]  # some methods have none of their own
    run = pretrain(*digits, *words, "--multicrop", "--n_small_crops", "2")
    last = read_metrics(run / "metrics.csv")[-1]
    assert float(last["train/loss"]) == pytest.approx(float(last["train/loss"]))  # no NaN
    assert float(last["monitor/effective_rank"]) > 0
    assert {v.dtype for v in weights(run).values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize(
    "words",
    [
        "--method barlow_twins --scale_loss 0.024 --unbiased",
        "--method vicreg --invariance 10 --variance_sum",
        "--method relic --alpha 0.1 --learn temperature",
        "--method sigmoid --gamma 1 --gamma_steps 3 --threshold 0.1 --threshold_after_step 1",
        "--method looc --temperature 0.3 --left_out color --scheduler warmup_cosine",
        "--loss nt_xent --global_views 1 --clip_grad_norm 1",
    ],
)
def test_settings_of_a_loss_reach_it(words: str, pretrain: Run, digits: list[str]) -> None:
    pretrain(*digits, *words.split(), "--max_steps", "2", "--no-baseline")
    config = parse_pretrain([*digits, *words.split()])
    assert config.loss_options
    method = build_method(config, create("resnet6_w8", 16), 10)
    assert method.loss_function.keywords == config.loss_options


def test_a_scalar_that_learns_is_kept_in_its_bounds(pretrain: Run, digits: list[str]) -> None:
    words = ["--learn", "temperature", "--learned_lr", "1000", "--log_every_n_steps", "1"]
    run = pretrain(*digits, *words, "--max_steps", "3", "--no-baseline")
    found = [float(row["learned/temperature"]) for row in read_metrics(run / "metrics.csv")]
    assert found[0] == pytest.approx(0.2)
    assert found[-1] == pytest.approx(100.0) or found[-1] == pytest.approx(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("lr", "stop_gradient"), [("0.5", True), ("10", False), ("200", True)])
def test_simsiam_collapses_without_its_stop_gradient_or_at_a_high_rate(
    lr: str,
    stop_gradient: bool,
    pretrain: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Trained for real on digits; the first row is the one that must not collapse."""

    def objective(self: SimSiam, h: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        z = view_by_view(self.projector, h)
        return -torch.cosine_similarity(view_by_view(self.predictor, z), z.flip(0), dim=-1).mean()

    if not stop_gradient:
        monkeypatch.setattr(SimSiam, "objective", objective)
    words = "digits resnet6_w16 --method simsiam --epochs 20 --batch_size 64 --hidden_mlp 512"
    words += " --encoding_size 512 --pred_hidden_mlp 128 --precision 32 --num_workers 1 --lr"
    healthy = lr == "0.5"
    pretrain(
        *words.split(), lr, "--no-baseline", "--on_collapse", "stop", expect=0 if healthy else 3
    )
    assert ("COLLAPSED" in capsys.readouterr().err) is not healthy
