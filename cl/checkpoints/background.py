"""Writing beside the training: what is written is copied first, and then has a thread."""

import copy
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree

Write = Callable[[], object]
T = TypeVar("T")


class Background:
    """One write at a time, in a thread that ends with it."""

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.error: OSError | None = None

    def start(self, write: Write) -> None:
        """Begin to write; the write before has been waited for."""
        assert self.thread is None, "wait first: it says what could not be written"
        self.thread = Thread(target=self.run, args=(write,), name="checkpoint")
        self.thread.start()  # no daemon: the program's end waits for it

    def run(self, write: Write) -> None:
        """Write, and keep why it could not be done."""
        try:
            write()
        except OSError as error:
            self.error = error

    def wait(self) -> None:
        """Wait until all is written that was begun.

        Raises:
            OSError: it could not be; this is raised once.
        """
        if self.thread is not None:
            self.thread.join()
        error, self.thread, self.error = self.error, None, None
        if error is not None:
            raise error


def copied(content: T) -> T:
    """A deep copy of nested containers, whose tensors are on the CPU.

    Tensors that are one in memory, as tied weights are, stay one.
    """
    copies: dict[object, Tensor] = {}
    memo: dict[int, Tensor] = {}
    for each in pytree.tree_leaves(content):
        if isinstance(each, Tensor):
            place = each.device, each.data_ptr(), each.dtype, each.shape, each.stride()
            if each.numel() == 0 or place not in copies:
                copies[place] = each.detach().to("cpu", copy=True)
            memo[id(each)] = copies[place]
    return copy.deepcopy(content, memo)
