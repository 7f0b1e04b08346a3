"""The kernels for cards, as far as a machine without one can tell."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from cl.precision import has_triton

NEEDS = pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA")


@NEEDS
def test_kernels_are_the_engine() -> None:
    """By Triton's interpreter, against the engine in blocks, in float64."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.losses.interpreted"]
    env = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)
    assert (done.returncode, done.stdout) == (0, "all were compared\n"), done.stdout + done.stderr


POINTERS = {"classes": "*i64", "singles": "*i8"}
NUMBERS = {"weight": "fp32", "scale": "fp32"}
COMPILED = {"D": 20, "WIDTH": 32, "UNIQUE": True, "WHICH": 1, "POSITIVES": False, "LEARNED": False}
COMPILED |= {"OF_ROWS": True, "OF_COLUMNS": True, "BM": 32, "BN": 32}


@NEEDS
@pytest.mark.parametrize("name", ["unit_rows", "pull_rows", "row_sums", "slopes"])
def test_kernels_compile(name: str) -> None:
    """For the first cards that have TF32."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cl import kernels

    kernel = getattr(kernels, name)
    types = {n: NUMBERS.get(n, POINTERS.get(n, "*fp32")) for n in kernel.arg_names}
    types |= dict.fromkeys([n for n in kernel.arg_names if n in {*kernels.SIZES, "R"}], "i32")
    known = {n: value for n, value in COMPILED.items() if n in kernel.arg_names}
    source = ASTSource(kernel, types | dict.fromkeys(known, "constexpr"), constexprs=known)
    options = {"num_warps": 4} | kernels.COMPILER
    made = compile_kernel(source, target=GPUTarget("cuda", 80, 32), options=options)
    assert len(made.asm["cubin"]) > 0


@NEEDS
@pytest.mark.skipif(torch.cuda.is_available(), reason="a card compiles them")
def test_where_nothing_compiles_it_is_said() -> None:
    """Once, and the losses do without kernels."""
    with pytest.warns(UserWarning, match="slower without Triton, which cannot compile: "):
        assert not has_triton.__wrapped__()
