"""The only file that knows that there is more than one process."""

import io
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

T = TypeVar("T")
ASKED_EVERY = 0.05  # seconds between two looks for processes that ask where they meet
PIECE = 2**20  # bytes; a store refuses words of more than eight times as much
# In this thread: what takes the place of an exchange by `gather_objects`.
instead: ContextVar[Callable[[object], list[object]] | None] = ContextVar("instead", default=None)


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if world_size() > 1 else 0


class Gather(torch.autograd.Function):
    """All shards along the first axis; its backward sums the gradients that all ranks have for one.

    With it DDP's mean over processes of the gradients of local means is the one-process gradient.
    What is in half precision is sent so and handed on in float32, in which gradients are then
    summed: rounded once, as on one process, and not once a process.
    """

    @staticmethod
    def forward(x: Tensor, sizes: list[int]) -> Tensor:
        most = max(sizes)
        padded = x.new_zeros(most, *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        gathered = torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])
        return gathered.float() if x.dtype in (torch.bfloat16, torch.float16) else gathered

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, list[int]], output: Tensor) -> None:
        x, ctx.sizes = inputs
        ctx.dtype = x.dtype

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor, None]:
        summed = grad_outputs[0].contiguous().clone()
        dist.all_reduce(summed)
        own = summed.split(ctx.sizes)[rank()]
        return own.to(ctx.dtype), None


def gather(z: Shaped[Tensor, "..."], dim: int = 1) -> tuple[Shaped[Tensor, "..."], slice]:
    """The samples of all processes, and which of them are this one's.

    Args:
        z: this process's, of any number; gradients flow back to every process.
        dim: the axis of the samples.

    Returns:
        All of them in the order of the ranks, and the slice of `dim` that is `z`.
    """
    if world_size() == 1:
        return z, slice(None)
    sizes = sizes_of(z.shape[dim])
    first = sum(sizes[: rank()])
    gathered = Gather.apply(z.movedim(dim, 0).contiguous(), sizes)
    assert isinstance(gathered, Tensor)
    return gathered.movedim(0, dim), slice(first, first + z.shape[dim])


def sizes_of(n: int) -> list[int]:
    """Every process's number of samples, exchanged without the devices: none is waited for."""
    own = torch.tensor([n])
    each = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(each, own, group=on_hosts(dist.group.WORLD))
    return torch.cat(each).tolist()


def all_reduce_sum(x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The sum over all processes, without gradient."""
    if world_size() == 1:
        return x
    summed = x.detach().clone()
    dist.all_reduce(summed)
    return summed


def loss_weight(n: Shaped[Tensor, ""]) -> Shaped[Tensor, ""] | float:
    """This process's part of a count, 1 where all have alike: weighs its mean in DDP's mean."""
    if world_size() == 1:
        return 1.0
    return n.double() * world_size() / all_reduce_sum(n).clamp(min=1)


def all_reduce_max(x: Shaped[Tensor, ""]) -> Shaped[Tensor, ""]:
    """The largest over all processes."""
    if world_size() == 1:
        return x
    most = x.detach().clone()
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return most


@cache
def on_hosts(group: Any) -> Any:
    """The group of all processes whose exchange waits for no GPU; its first use is by all.

    Args:
        group: of the devices, for which there is one; it has the same timeout.
    """
    devices = group._get_backend(group._device_types[0])
    return dist.new_group(backend="gloo", timeout=devices.options._timeout)


def any_of(flag: Shaped[Tensor, ""]) -> bool:
    """Whether a flag is true on any process; exchanged without the devices."""
    if world_size() == 1:
        return bool(flag)
    most = flag.int()
    dist.all_reduce(most, op=dist.ReduceOp.MAX, group=on_hosts(dist.group.WORLD))
    return bool(most)


class Board:
    """Words that processes leave for each other, beside what they compute; for one thread.

    It is the first process's, or torchrun's, and is gone with it: then each use is a RuntimeError.
    """

    def __init__(self) -> None:
        group = dist.distributed_c10d
        self.store: Any = group._get_default_store().clone()  # pyright: ignore[reportPrivateUsage]

    def write(self, key: str, word: str) -> None:
        """Leave a word in place of the one before."""
        self.store.set(f"cl/{key}", word)

    def read(self, key: str) -> str:
        """The word that was left last; an empty one where there is none."""
        key = f"cl/{key}"
        return self.store.get(key).decode() if self.store.check([key]) else ""

    def send(self, key: str, content: object) -> None:
        """Leave tensors and plain data of any size, in any nesting."""
        packed = io.BytesIO()
        torch.save(content, packed)
        raw = packed.getvalue()
        starts = range(0, len(raw), PIECE)
        for at in starts:
            self.store.set(f"cl/{key}/{at}", raw[at : at + PIECE])
        self.write(key, str(len(raw)))

    def receive(self, key: str) -> Any:
        """What was left, read as data; None where there is nothing."""
        size = self.read(key)
        if not size:
            return None
        pieces = (self.store.get(f"cl/{key}/{at}") for at in range(0, int(size), PIECE))
        return torch.load(io.BytesIO(b"".join(pieces)), weights_only=True)


def is_of_others(error: Exception) -> bool:
    """Whether an error is that of an exchange which another process has not taken part in."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


class Rendezvous:
    """One start of torchrun's processes, which begin on a store of their own.

    torchrun's store outlives a restart with all that was left in it, the addresses of processes
    that have ended included, and a machine's count of restarts is its own.

    Args:
        store: torchrun's.

    Attributes:
        number: how many times torchrun has started the processes, this time included.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        own, others = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]) - 1
        if own == 0:
            self.fresh = open_store()
            self.number = store.add("cl/starts", 1)
            self.fresh.set("cl/start", str(self.number))
            while self.fresh.add("cl/here", 0) < others:
                self.answer(others)
                time.sleep(ASKED_EVERY)
        else:
            asked = secrets.token_hex(8)  # which nobody before this start has asked
            store.set(f"cl/asked/{own}", asked)
            self.fresh = open_store(int(store.get(f"cl/port/{asked}")))
            self.number = int(self.fresh.get("cl/start"))
            self.fresh.add("cl/here", 1)
        os.environ["MASTER_PORT"] = str(self.fresh.port)

    def answer(self, others: int) -> None:
        """Tell the other processes where this start's store is; those that have ended ask too."""
        for rank in range(1, others + 1):
            if self.store.check([f"cl/asked/{rank}"]):
                asked = self.store.get(f"cl/asked/{rank}").decode()
                self.store.set(f"cl/port/{asked}", str(self.fresh.port))

    def settle(self, key: str, value: str) -> str:
        """A word that all processes share, the same after a restart.

        Args:
            key: what the word is about.
            value: this process's proposal; the first one to come is everybody's.
        """
        return self.store.compare_set(f"cl/{key}", "", value).decode()


@cache
def rendezvous() -> Rendezvous | None:
    """The start of this process by torchrun; None where it keeps no store. All of them call it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    return Rendezvous(open_store(int(os.environ["MASTER_PORT"])))


def open_store(port: int | None = None) -> Any:
    """A store at the first process's machine: the one at a port, or a new one of this process's."""
    host, new = os.environ["MASTER_ADDR"], port is None
    store: Any = dist.TCPStore  # pyright: ignore[reportPrivateImportUsage]
    return store(host, port or 0, is_master=new, wait_for_workers=False)


def reshard(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """This process's part of what the processes of a checkpoint held, be they more or fewer."""
    if len(parts) == world_size():
        return parts[rank()]
    return torch.cat([*parts], dim).tensor_split(world_size(), dim)[rank()]


def shard_parameters(module: nn.Module, blocks: Sequence[nn.Module], device: torch.device) -> None:
    """Divide a module's parameters among the processes, block by block, on their devices.

    Args:
        module: whose parameters are in parts then, and whole only while it computes.
        blocks: modules within it, each of whose parameters are made whole at a time.
        device: of this process.
    """
    from torch.distributed.device_mesh import init_device_mesh  # a second, and only for this
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world_size(),))
    for part in (*blocks, module):
        fully_shard(part, mesh=mesh)


def is_sharded(x: Tensor) -> bool:
    """Whether a tensor is in parts on the processes."""
    return hasattr(x, "full_tensor")


def own_part(x: Tensor) -> Tensor:
    """This process's part of a tensor that may be in parts."""
    return cast("Any", x).to_local() if is_sharded(x) else x


def unsharded(x: Tensor) -> Tensor:
    """The whole of a tensor that may be in parts; all processes call it."""
    return cast("Any", x).full_tensor() if is_sharded(x) else x


def sharded_like(x: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in the parts in which another one of its shape is; else itself."""
    if not is_sharded(like) or x.shape != like.shape:
        return x
    from torch.distributed.tensor import distribute_tensor

    parts: Any = like
    return distribute_tensor(x.to(like.device), parts.device_mesh, parts.placements)


def barrier() -> None:
    """For all processes to come here."""
    if world_size() > 1:
        dist.barrier()


def broadcast_object(x: T) -> T:
    """The first process's object, on every process."""
    if world_size() == 1:
        return x
    box = [x]
    dist.broadcast_object_list(box)
    return box[0]


@contextmanager
def kept_objects() -> Iterator[list[object]]:
    """What this process would send by `gather_objects`; in this thread nothing is sent."""
    own: list[object] = []

    def keep(x: object) -> list[object]:
        own.append(x)
        return [x]

    token = instead.set(keep)
    try:
        yield own
    finally:
        instead.reset(token)


@contextmanager
def given_objects(others: Sequence[Sequence[object]]) -> Iterator[None]:
    """`gather_objects` gives what each process kept in the same calls, in this thread.

    Args:
        others: of each process what it kept; this one's are not looked at.
    """
    calls = zip(*(kept for at, kept in enumerate(others) if at != rank()), strict=True)

    def take(x: object) -> list[object]:
        found = [*next(calls)]
        found.insert(rank(), x)
        return found

    token = instead.set(take)
    try:
        yield
    finally:
        instead.reset(token)


def gather_objects(x: object) -> list[object]:
    """Every process's object, in the order of the ranks."""
    if world_size() == 1:
        return [x]
    if (exchange := instead.get()) is not None:
        return exchange(x)
    each: list[object] = [None] * world_size()
    dist.all_gather_object(each, x)
    return each
