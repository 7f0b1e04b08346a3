"""Random states that a call from Python may not move, though the program seeds them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_random_states() -> Iterator[None]:
    """Leave the random generators of Python, numpy and torch where they were before."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - which is seeded
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
