"""The device that everything here is tried on: a card, or the CPU in a rehearsal.

    pytest -m gpu tests/gpu            on a card
    CL_REHEARSE=1 pytest tests/gpu     on the CPU, smaller, before a card is at hand

The four files take about as long as each other, so that four processes can share one card.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.end_to_end.conftest import digits, folder, linear, pretrain

__all__ = ["digits", "folder", "linear", "pretrain"]  # the programs as functions

REHEARSED = os.environ.get("CL_REHEARSE") == "1"
GPU = pytest.mark.usefixtures("device") if REHEARSED else pytest.mark.gpu
ROWS = (64,) if REHEARSED else (256, 4096)  # embeddings of two views; their losses are compared
# What cuBLAS needs to sum in the same order each time; it reads it when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(scope="session", autouse=True)
def device() -> torch.device:
    """Where tensors go; nothing here runs without a card unless it is rehearsed."""
    if REHEARSED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; CL_REHEARSE=1 rehearses on the CPU")
    return torch.device("cuda", 0)


@pytest.fixture
def card(device: torch.device) -> torch.device:
    """The same for what only a card can do."""
    if device.type != "cuda":
        pytest.skip("needs a CUDA device also in a rehearsal")
    return device


@pytest.fixture
def half(request: pytest.FixtureRequest, device: torch.device) -> str:
    """A precision; float16 is for cards alone."""
    if request.param == "16" and device.type != "cuda":
        pytest.skip("needs a CUDA device also in a rehearsal: a CPU has no float16 arithmetic")
    return request.param


@pytest.fixture
def float32() -> Iterator[None]:
    """Convolutions in float32; by default cuDNN rounds what it multiplies to TF32's ten bits."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    yield
    torch.backends.cudnn.conv.fp32_precision = before


def apart(ours: torch.Tensor, right: torch.Tensor) -> float:
    """How far a tensor is from the right one, in the norm, of the right one's."""
    ours, right = ours.double().cpu(), right.double().cpu()
    return float((ours - right).norm() / right.norm())
