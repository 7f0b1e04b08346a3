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


class Copies:
    """Deep copies of nested containers, whose tensors are on the CPU.

    Tensors that are one in memory, as tied weights and an encoder's within its method, are copied
    once, also from one container to the next: nothing may change a tensor between them.
    """

    def __init__(self) -> None:
        # By place in memory; the tensor itself stays there, so that none takes its place.
        self.made: dict[object, tuple[Tensor, Tensor]] = {}

    def of(self, content: T) -> T:
        """The copy of a container."""
        memo: dict[int, Tensor] = {}
        for each in pytree.tree_leaves(content):
            if isinstance(each, Tensor):
                place = each.device, each.data_ptr(), each.dtype, each.shape, each.stride()
                if each.numel() == 0 or place not in self.made:
                    self.made[place] = each, each.detach().to("cpu", copy=True)
                memo[id(each)] = self.made[place][1]
        return copy.deepcopy(content, memo)


class Writes(list[Write]):
    """The writes of one step, whose content is copied together."""

    def __init__(self) -> None:
        self.copies = Copies()
