"""A run has the same numbers on one process and on two, whoever starts them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cl.metrics import read_metrics
from tests.distributed.exactness import free_port

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def same_run(one: Path, other: Path) -> None:
    """Every row but the speed to the digits of metrics.csv, the weights (float64) to 1e-7.

    They start from 1e-13: each step multiplies what rounding has made by two or three.
    """
    rows, others = (read_metrics(run / "metrics.csv") for run in (one, other))
    assert len(rows) == len(others)
    for row, of_other in zip(rows, others, strict=True):
        for name in row.keys() - {"images_per_s"}:
            if row[name]:
                assert float(of_other[name]) == pytest.approx(float(row[name]), rel=2e-5), name
            else:
                assert not of_other[name]
    weights, of_other = (load_file(run / "encoder.safetensors") for run in (one, other))
    for name in weights:
        torch.testing.assert_close(of_other[name], weights[name], rtol=1e-6, atol=1e-7)


def finished(*command: object) -> str:
    """What a command wrote to stdout; it must end well."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=200,
        env=ENVIRONMENT,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "norm",
    [
        "--norm batch",
        pytest.param("--norm group --mini_batch_size 20", marks=pytest.mark.slow),
        pytest.param("--norm batch --optimizer lars", marks=pytest.mark.slow),
    ],
)
def test_one_run_on_two_processes(
    norm: str, pretrain: Callable[..., Path], digits: list[str], tmp_path: Path
) -> None:
    """The same samples, views, learning rates, statistics, probe; one folder, one report.

    Twenty samples at a time are uneven chunks of a process's 64, and the loss is the whole batch's.
    """
    digits[digits.index("--precision") + 1] = "64"
    words = [*digits, "--no-baseline", "--log_every_n_steps", "1", *norm.split()]
    one = pretrain(*words, run_id="one")
    words[words.index("--batch_size") + 1] = "64"
    said = finished(
        "main_contrastive.py",
        *(*words, "--devices", 2, "--run_id", "two", "--output", tmp_path, "--wandb", "off"),
    )
    assert said.count("online probe") == 1
    assert "22 (11 an epoch)" in said
    assert "2 processes, 1 node x 2, gloo" in said
    same_run(one, tmp_path / "two")


@pytest.mark.slow
def test_without_synchronised_batch_norm_it_is_another_run(
    pretrain: Callable[..., Path], digits: list[str], tmp_path: Path
) -> None:
    """What the comparison above would show: a process's own statistics give other numbers."""
    words = [*digits, "--no-baseline", "--max_steps", "3", "--log_every_n_steps", "1"]
    one = pretrain(*words, run_id="one")
    words[words.index("--batch_size") + 1] = "64"
    words += ["--devices", "2", "--run_id", "two", "--output", str(tmp_path), "--wandb", "off"]
    finished("main_contrastive.py", *words, "--no-sync_batchnorm")
    with pytest.raises(AssertionError):
        same_run(one, tmp_path / "two")


def test_linear_evaluation_on_two_processes(
    pretrain: Callable[..., Path],
    linear: Callable[..., Path],
    digits: list[str],
    tmp_path: Path,
) -> None:
    """Each takes its shard of the features and its part of every batch, also of the last, odd one.

    torchrun starts them here; every validation sample is counted once.
    """
    run = pretrain(*digits, "--no-baseline", "--max_steps", "5")
    words = ["digits", "resnet6_w8", "--epochs", "3", "--lr_decay_steps", "2", "--num_workers", "1"]
    words += ["--precision", "64", "--pretrained_feature_extractor", str(run), "--eval"]
    words += ["linear", "logistic", "knn", "retrieval", "--lr_grid", "0.1", "1"]
    one = linear(*words, "--batch_size", "100", run_id="one")
    shutil.copytree(run / "features", tmp_path / "features")
    shutil.rmtree(run / "features")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-port", free_port()]
    more = ["--batch_size", "50", "--run_id", "two", "--output", tmp_path, "--wandb", "off"]
    said = finished(*torchrun, "main_linear.py", *words, *more)
    assert said.count("linear      top1") == said.count("retrieval   map_r") == 1
    for file in (tmp_path / "features").glob("*.npy"):
        np.testing.assert_allclose(
            np.load(run / "features" / file.name), np.load(file), rtol=1e-6, atol=1e-6
        )
    results = [json.loads((r / "result.json").read_text()) for r in (one, tmp_path / "two")]
    assert results[0] == results[1]
    rows = [read_metrics(r / "metrics.csv") for r in (one, tmp_path / "two")]
    for row, of_two in zip(*rows, strict=True):
        for name in ("train/loss", "train/probe_top1", "val/loss", "val/probe_top1", "lr"):
            assert float(of_two[name]) == pytest.approx(float(row[name]), rel=2e-5), name
