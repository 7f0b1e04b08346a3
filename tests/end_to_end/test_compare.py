"""What a comparison relies on: equal starts, an untrained row; and a whole one, killed and not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cl import runs
from cl.compare.table import STEM
from cl.nets import encoders

Run = Callable[..., Path]
REPOSITORY = Path(__file__).parents[2]
PLAN = """
name = "tiny"
run = "digits resnet6_w4 --epochs 30 --batch_size 256 --no-baseline --wandb off --num_workers 0"
evaluate = "--eval logistic knn --wandb off --num_workers 0"
seeds = [0, 1]
measure = "logistic/top1"

[rows]
"NT-Xent" = "--loss nt_xent --hidden_mlp 32"
untrained = "--max_steps 0"
"""
OF_TIME = ("ms_a_step", "peak_mb", "at_a_time")


def start(run: Path) -> list[str]:
    derived = json.loads((run / "config.json").read_text())["derived"]
    return [derived[key] for key in runs.START]


def test_runs_of_a_seed_start_alike(pretrain: Run, digits: list[str]) -> None:
    """Whatever the method; another seed, another batch or another encoder is told."""
    words = [*digits, "--max_steps", "1", "--no-baseline"]
    first = start(pretrain(*words, run_id="first"))
    other = start(pretrain(*words, "--method", "barlow_twins", "--lr", "0.1", run_id="other"))
    assert first == other
    seed = start(pretrain(*words, "--seed", "1", run_id="seed"))
    assert [a == b for a, b in zip(first, seed, strict=True)] == [False, False]
    batch = start(pretrain(*words, "--batch_size", "64", run_id="batch"))
    assert [a == b for a, b in zip(first, batch, strict=True)] == [True, False]


def test_a_run_of_no_steps_is_the_untrained_encoder(
    pretrain: Run, linear: Run, digits: list[str]
) -> None:
    run = pretrain(*digits, "--max_steps", "0", "--seed", "3")
    torch.manual_seed(3)
    expected = encoders.create("resnet6_w8", 16).state_dict()
    found = load_file(run / "encoder.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    given = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, "--num_workers", "1"]
    assert (linear(*given, "--eval", "knn") / "cards.json").exists()
    linear(*given, "--max_steps", "0", run_id="refused", expect=2)


def compare(plan: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a comparison with its children in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cl.compare", str(plan), "--output", str(output)],
        cwd=plan.parent,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_all(folder: Path) -> None:
    """Kill the processes that have a file in a folder open, as their logs are."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(link.readlink()).startswith(str(folder)):
                os.kill(int(link.parts[2]), signal.SIGKILL)


def numbers(folder: Path) -> Any:
    """The table without what depends on the clock."""
    found = json.loads((folder / "tiny" / f"{STEM}.json").read_text())
    for each in (*found["rows"], *found["cells"]):
        each["numbers"] = {k: v for k, v in each["numbers"].items() if k not in OF_TIME}
        each["numbers"].pop("images_per_s", None)
    return found


@pytest.mark.slow
def test_a_comparison_that_is_killed_ends_with_the_same_table(tmp_path: Path) -> None:
    """The caller is killed at random times; some of its children live on, some are killed too."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    whole = compare(plan, tmp_path / "whole")
    said, _ = whole.communicate()
    assert whole.returncode == 0, said
    moments, killed = random.Random(0), 0
    for attempt in range(8):
        process = compare(plan, tmp_path / "killed")
        assert process.stdout is not None
        time.sleep(12 + 18 * moments.random())
        if process.poll() is None:
            process.kill()
            process.wait()
            killed += 1
        process.stdout.close()
        if attempt % 2:
            kill_all(tmp_path / "killed")
    process = compare(plan, tmp_path / "killed")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert killed >= 2
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
