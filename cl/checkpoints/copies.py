"""Deep copies of what a checkpoint holds, made by several threads: the training waits for them."""

import copy
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGE = 2**18  # bytes of a tensor that threads copy; of a smaller one to say so takes the time
PIECE = 2**25  # bytes that a thread copies at a time, or a row if that is more
MOST = 4  # threads; a machine's memory is no faster for more
PLAIN = frozenset({bool, bytes, float, int, str, type(None)})  # nothing of these can change

Spare = Mapping[object, list[Tensor]]


class Copies:
    """Deep copies of nested containers, whose tensors are on the CPU.

    Tensors that are one in memory, as tied weights and an encoder's within its method, are copied
    once, also from one container to the next: nothing may change a tensor between them.

    Args:
        spare: `all` of copies that nobody reads any more, whose memory is taken for those of now:
            that of a run's saves is asked of the system once. What is left of it is let go.
    """

    def __init__(self, spare: Spare | None = None) -> None:
        # By place in memory; the tensor itself stays there, so that none takes its place.
        self.made: dict[object, tuple[Tensor, Tensor]] = {}
        self.small: tuple[list[Tensor], list[Tensor]] = [], []  # copies without content yet
        self.pieces: deque[tuple[Tensor, Tensor]] = deque()  # those of the parts of large ones
        self.all: dict[object, list[Tensor]] = {}  # those made, by what fits into their memory
        self.spare = spare or {}

    @torch.no_grad()
    def of(self, content: Any) -> Any:
        """The copy of a container."""
        made = self.walk(content)
        self.fill()
        return made

    def walk(self, content: Any) -> Any:
        """The copy, but for what `fill` does; one walk takes less time than `copy.deepcopy`."""
        if isinstance(content, Tensor):
            return self.of_tensor(content)
        if isinstance(content, dict):
            made = content.copy()
            if state := getattr(content, "__dict__", None):  # a state dict's versions
                vars(made).update(state)
            for key, value in content.items():
                made[key] = self.walk(value)
            return made
        if type(content) in (list, tuple):
            return type(content)([self.walk(each) for each in content])
        return content if type(content) in PLAIN else copy.deepcopy(content)

    def of_tensor(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor, which is another one's where that has the same place in memory."""
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
            return tensor.detach().to("cpu", copy=True)
        layout = tensor.dtype, tensor.shape, tensor.stride()
        place = tensor.data_ptr(), tensor.device, layout
        if (known := self.made.get(place)) is not None and tensor.numel():
            return known[1]
        free = self.spare.get(layout)
        made = free.pop() if free else torch.empty_like(tensor, device="cpu")
        if is_large(tensor):
            rows = max(1, PIECE * len(tensor) // tensor.nbytes)
            if rows < len(tensor):
                self.pieces.extend(zip(made.split(rows), tensor.split(rows), strict=True))
            else:
                self.pieces.append((made, tensor))
        else:
            self.small[0].append(made)
            self.small[1].append(tensor)
        self.made[place] = tensor, made
        self.all.setdefault(layout, []).append(made)
        return made

    def fill(self) -> None:
        """Copy the content of all pieces, each thread one after the other."""
        others = min(MOST, torch.get_num_threads()) - 1 if len(self.pieces) > 1 else 0
        begun = [helpers().submit(copy_pieces, self.pieces) for _ in range(others)]
        into, of = self.small
        if into:
            torch._foreach_copy_(into, of)  # pyright: ignore[reportPrivateImportUsage]
            self.small = [], []
        copy_pieces(self.pieces)
        for each in begun:
            each.result()


@cache
def helpers() -> ThreadPoolExecutor:
    """Threads that stay: a new one takes its memory from any of glibc's arenas."""
    return ThreadPoolExecutor(MOST - 1, "copy")


def copy_pieces(pieces: deque[tuple[Tensor, Tensor]]) -> None:
    """Copy pieces until none is left; NumPy has no threads of its own beside these."""
    while pieces:
        try:
            into, piece = pieces.pop()
        except IndexError:  # another thread took the last one
            return
        np.copyto(array(into), array(piece))


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor, of numbers that NumPy has."""
    found = tensor.detach()
    return (found.view(torch.int16) if found.dtype == torch.bfloat16 else found).numpy()


def is_large(tensor: Tensor) -> bool:
    """Whether it is worth a thread, and NumPy can copy it."""
    return (
        tensor.nbytes >= LARGE
        and tensor.device.type == "cpu"
        and tensor.dtype.itemsize > 1
        and tensor.dim() > 0
        and not (tensor.is_conj() or tensor.is_neg())
    )
