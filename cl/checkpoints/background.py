"""Writing beside the training: what is written is copied first, and then has a thread."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from torch import Tensor

Write = Callable[[], object]


class Background:
    """One write at a time, in a thread.

    It is the same thread for all of them, and ends with this: a new one takes its memory from any
    of glibc's arenas, so that in the end each of them has that of a write. The program's end waits
    for it.
    """

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.begun: Future[object] | None = None

    def start(self, write: Write) -> None:
        """Begin to write; the write before has been waited for."""
        assert self.begun is None, "wait first: it says what could not be written"
        self.begun = self.pool.submit(write)

    def is_busy(self) -> bool:
        """Whether something is being written."""
        begun = self.begun
        return begun is not None and not begun.done()

    def wait(self) -> None:
        """Wait until all is written that was begun; what a write has raised is raised once."""
        if self.begun is not None:
            wait([self.begun])
            begun, self.begun = self.begun, None
            begun.result()


class Copies:
    """Deep copies of nested containers, whose tensors are on the CPU.

    Tensors that are one in memory, as tied weights and an encoder's within its method, are copied
    once, also from one container to the next: nothing may change a tensor between them.

    Args:
        spare: copies that nobody reads any more, whose memory is taken for those of now: that of a
            run's saves is asked of the system once. What is left of it is let go.
    """

    def __init__(self, spare: Sequence[Tensor] = ()) -> None:
        # By place in memory; the tensor itself stays there, so that none takes its place.
        self.made: dict[object, tuple[Tensor, Tensor]] = {}
        self.all: list[Tensor] = []  # those made, without what they are copies of
        self.spare: dict[object, list[Tensor]] = {}
        for tensor in spare:
            self.spare.setdefault(layout_of(tensor), []).append(tensor)

    def of(self, content: Any) -> Any:
        """The copy of a container; one walk takes less time than `copy.deepcopy`."""
        if isinstance(content, Tensor):
            return self.of_tensor(content)
        if isinstance(content, dict):
            made = content.copy()
            if state := getattr(content, "__dict__", None):  # a state dict's versions
                vars(made).update(state)
            for key, value in content.items():
                made[key] = self.of(value)
            return made
        if type(content) in (list, tuple):
            return type(content)(self.of(each) for each in content)
        return copy.deepcopy(content)

    def of_tensor(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor, which is another one's where that has the same place in memory."""
        if tensor.numel() == 0:
            return tensor.detach().to("cpu", copy=True)
        place = tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
        if place not in self.made:
            free = self.spare.get(layout_of(tensor))
            found = tensor.detach()
            copy = free.pop().copy_(found) if free else found.to("cpu", copy=True)
            self.made[place] = tensor, copy
            self.all.append(copy)
        return self.made[place][1]


def layout_of(tensor: Tensor) -> object:
    """What two tensors have in common of which one fits into the other's memory."""
    return tensor.dtype, tensor.layout, tensor.shape, tensor.stride()


class Writes(list[Write]):
    """The writes of one step, whose content is copied together."""

    def __init__(self, spare: Sequence[Tensor] = ()) -> None:
        self.copies = Copies(spare)
