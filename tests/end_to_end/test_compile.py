"""`--compile`: the run without it, with the same names in its files."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

REPOSITORY = Path(__file__).parents[2]
with_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


@pytest.mark.slow
@with_compiler
def test_a_run_is_the_one_without_and_goes_on_without(
    pretrain: Callable[..., Path], digits: list[str], tmp_path: Path
) -> None:
    """BYOL has a predictor and a teacher, and its samples come in parts of two sizes."""
    words = [*digits, "--method", "byol", "--no-baseline", "--mini_batch_size", "50"]
    words += ["--log_every_n_steps", "1"]
    pretrain(*words, "--max_steps", "3", run_id="plain")
    flags = ["--output", tmp_path, "--wandb", "off", "--no-report", "--run_id", "compiled"]
    line = [*words, "--max_steps", 3, "--compile", *flags]
    subprocess.run(
        [sys.executable, "main_contrastive.py", *map(str, line)], check=True, cwd=REPOSITORY
    )
    found = []
    for name in ("plain", "compiled"):
        run = tmp_path / name
        pretrain(*words, "--max_steps", "4", "--resume_training_from", str(run))
        found.append(load_file(run / "encoder.safetensors"))
    plain, other = found
    assert plain.keys() == other.keys()
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)
