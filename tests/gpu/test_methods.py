"""Every method two steps through the program, in both half precisions, and other ways to train."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cl.config.signature import methods
from cl.metrics import read_metrics
from tests.gpu.conftest import GPU
from tests.methods.made import OF_IMAGES as METHODS

pytestmark = [
    GPU,
    # The scaler of float16 leaves the first steps out until its scale fits.
    pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step"),
    # In a rehearsal 16 is bfloat16, and a processor may emulate it.
    pytest.mark.filterwarnings("ignore:--precision"),
]
Run = Callable[..., Path]


def changed(words: list[str], precision: str) -> list[str]:
    """The words with another precision."""
    at = words.index("--precision") + 1
    return [*words[:at], precision, *words[at + 1 :], "--no-baseline", "--log_every_n_steps", "1"]


def state(run: Path) -> dict[str, Any]:
    return torch.load(run / "last.ckpt", weights_only=True)


def all_well(run: Path) -> None:
    """Losses are numbers, and weights are float32 and saved for any machine."""
    rows = read_metrics(run / "metrics.csv")
    assert all(math.isfinite(float(row["train/loss"])) for row in rows)
    assert float(rows[-1]["monitor/effective_rank"]) > 0
    weights = state(run)["state_dict"].values()
    assert {v.dtype for v in weights} <= {torch.float32, torch.int64}
    assert {v.device.type for v in weights} == {"cpu"}


@pytest.mark.parametrize("half", ["bf16", "16"], indirect=True)
@pytest.mark.parametrize("method", METHODS)
def test_two_steps(method: str, half: str, pretrain: Run, digits: list[str]) -> None:
    words = [*changed(digits, half), "--method", method, "--max_steps", "2"]
    run = pretrain(*words, "--multicrop", "--n_small_crops", "2")
    all_well(run)
    if half == "16":
        assert state(run)["MixedPrecision"]["scale"] >= 1


@pytest.mark.parametrize("method", [n for n, m in methods().items() if "ema_beta" in m.options])
def test_the_teacher_moves(method: str, pretrain: Run, digits: list[str]) -> None:
    """A quarter of it is kept: it is that mean of the first encoder and the new one."""
    words = [*changed(digits, "bf16"), "--method", method, "--max_steps", "1", "--ema_beta"]
    still, moved = (state(pretrain(*words, b, run_id=b))["state_dict"] for b in ("1", "0.25"))
    prefix = "teacher.module.0."
    names = [k for k in still if k.startswith(prefix) and still[k].is_floating_point()]
    assert names
    for name in names:
        online = moved[name.replace(prefix, "encoder.")]
        torch.testing.assert_close(moved[name], torch.lerp(still[name], online, 0.75))
    assert any(not torch.equal(still[name], moved[name]) for name in names)


@pytest.mark.parametrize(
    ("half", "words"),
    [
        ("16", "--mini_batch_size 50 --clip_grad_norm 1"),
        ("bf16", "--mini_batch_size 50 --mini_batch_norm frozen --norm batch"),
        ("bf16", "--optimizer lars --norm group --last_batch_fill"),
        ("32", "--optimizer adamw --ema_encoder 0.9"),
        ("bf16", "--loss sigmoid --learn both --bias -5 --no-channels_last"),
        ("bf16", "--method supcon --backend torch"),
    ],
    indirect=["half"],
)
def test_other_ways(half: str, words: str, pretrain: Run, digits: list[str]) -> None:
    """More than an epoch of 4 steps; with worker processes that start when CUDA is there."""
    given = [*changed(digits, half), "--data_fraction", "512", "--max_steps", "5"]
    run = pretrain(*given, *words.split())
    all_well(run)


def test_double_precision(device: torch.device, pretrain: Run, digits: list[str]) -> None:
    run = pretrain(*changed(digits, "64"), "--max_steps", "2")
    weights = state(run)["state_dict"].values()
    assert {v.dtype for v in weights} <= {torch.float64, torch.int64}
    assert {v.device.type for v in weights} == {"cpu"}


def test_images_in_files(pretrain: Run, folder: Path) -> None:
    """JPEG, worker processes, timm's ResNet with its own stem."""
    words = "imagenet100 resnet18 --train_dir imagenet-100/train --val_dir imagenet-100/test "
    words += "--batch_size 8 --max_steps 2 --precision bf16 --num_workers 1 --image_size 80 "
    words += "--hidden_mlp 32 --no-baseline --log_every_n_steps 1"
    run = pretrain(*words.split(), "--data_folder", folder)
    all_well(run)
