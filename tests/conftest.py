"""What every test can count on: two threads, and the shared reference files where they are."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    """Sums come out the same on a machine with more cores, and its tests take no more of it."""
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with reference values and real data."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference files: {SHARED} is not there")
    return SHARED
