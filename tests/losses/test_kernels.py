"""The kernels for cards, by Triton's interpreter, against the engine in float64 on the CPU."""

import subprocess
import sys
from importlib.util import find_spec

import pytest


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA")
def test_kernels_are_the_engine() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.losses.interpreted"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, "all were compared\n"), done.stdout + done.stderr
