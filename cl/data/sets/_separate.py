"""Data sets of the user's own that open files when they are read: no two processes share one.

A process that is forked has its parent's open files, with one place of reading for both. So the
data set itself is never read, which each process then has as it was made, but a copy in each.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

THREAD_SAFE = "torchvision.datasets."  # modules of data sets that open a file for each image


class Separate:
    """A data set, and the copy of it that each process reads, one item at a time.

    Args:
        data: as it was made; it is not read.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.copies: dict[int, tuple[Any, AbstractContextManager[Any]]] = {}

    def __reduce__(self) -> tuple[type["Separate"], tuple[Any]]:
        return Separate, (self.data,)

    def here(self) -> tuple[Any, AbstractContextManager[Any]]:
        """The copy of this process, and the lock under which its items are read."""
        process = os.getpid()
        if process not in self.copies:
            lock = nullcontext() if is_thread_safe(self.data) else Lock()
            self.copies.setdefault(process, (separate(self.data), lock))
        return self.copies[process]

    def item(self, number: int) -> Any:
        """An item as the data set gives it; threads wait for each other."""
        data, lock = self.here()
        with lock:
            return data[number]


def is_thread_safe(data: Any) -> bool:
    """Whether several threads may read a data set at once: torchvision's, below subsets."""
    while isinstance(data, Subset):
        data = data.dataset
    return type(data).__module__.startswith(THREAD_SAFE)


def separate(data: Any) -> Any:
    """A copy of a data set, and of those in it, which share what they hold by now.

    A file that an item's reading opens is then the copy's. What cannot be copied is given itself.
    """
    plain = not hasattr(data, "__dict__") or isinstance(data, np.ndarray | Tensor)
    try:
        made = data if plain else copy(data)
    except Exception:  # it may have its own way of being copied
        return data
    if made is data:
        return data
    for name, held in vars(made).items():
        within = isinstance(made, Subset | ConcatDataset) and name in ("dataset", "datasets")
        if isinstance(held, list) and (within or (held and isinstance(held[0], Dataset))):
            vars(made)[name] = [separate(each) for each in held]
        elif within or isinstance(held, Dataset):
            vars(made)[name] = separate(held)
    return made
