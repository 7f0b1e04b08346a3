"""What more processes than one compute on one card; run as a program it trains by DDP.

NCCL refuses two processes on one card, gloo does not.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist  # noqa: TID251 - the processes are made here
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from cl import distributed, trainer
from cl.data.batch import Batch
from cl.nets.encoders import create
from cl.nets.norm import SyncEverywhere
from tests.distributed.exactness import (
    BUFFERS,
    METHOD,
    Found,
    Problem,
    Step,
    free_port,
    losses,
    small,
)
from tests.methods.made import OF_IMAGES as METHODS

DTYPE = torch.float64  # so that only a wrong formula differs


class OnDevice(Problem):
    """The same on a device; what learns stays where it is."""

    def __init__(
        self, sizes: list[int], rank: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(sizes, rank, dtype)
        self.z, self.ids = self.z.to(device), self.ids.to(device)


def of_losses(
    sizes: list[int], rank: int, device: torch.device, dtype: torch.dtype = DTYPE
) -> Found:
    """Every loss's value and gradients, summed as DDP does."""
    found = {}
    for name, loss in losses():
        problem = OnDevice(sizes, rank, device, dtype)
        value = loss(problem) * problem.share
        parts = [value.detach(), *torch.autograd.grad(value, problem.parameters)]
        means = [(distributed.all_reduce_sum(part) / len(sizes)).cpu() for part in parts]
        found[f"{dtype} {name}"] = means
    return found


def of_kernels(sizes: list[int], rank: int, device: torch.device) -> Found:
    """The same in float32, which the kernels for cards take."""
    return of_losses(sizes, rank, device, torch.float32)


def of_methods(sizes: list[int], rank: int, device: torch.device) -> Found:
    """Every method's loss, gradients and running statistics after one step."""
    g = torch.Generator().manual_seed(0)
    whole = torch.randn(4, sum(sizes), 3, 16, 16, generator=g, dtype=DTYPE).to(device)
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    numbers = torch.arange(sum(sizes), device=device)
    found: Found = {}
    for name in METHODS:
        torch.manual_seed(0)
        method = small(name, create("resnet6_w8", 16)).to(DTYPE)
        SyncEverywhere(device.type == "cuda").apply(method)
        step: torch.nn.Module = Step(method.to(device))
        if len(sizes) > 1:
            step = DistributedDataParallel(step)
        views = [whole[:, own], whole[:2, own, :, :8, :8]]  # of full size, and small ones
        loss = step(Batch(views, numbers[own] % 4 - 1, numbers[own]))
        loss.backward()
        gradients = [p.grad for p in step.parameters() if p.grad is not None]
        mean = distributed.all_reduce_sum(loss.detach()) / len(sizes)
        key = f"{METHOD} {name}"
        found[key] = [mean.cpu(), *(g.cpu() for g in gradients)]
        found[f"{key} {BUFFERS}"] = [mean.cpu(), *(b.to(DTYPE).cpu() for b in step.buffers())]
    return found


Part = Callable[[list[int], int, torch.device], Found]


def work(rank: int, sizes: list[int], port: int, file: Path) -> None:
    """One of the processes."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the machine's name may have no address
    torch.set_num_threads(1)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    dist.init_process_group("gloo", rank=rank, world_size=len(sizes))
    parts = (of_losses, of_kernels, of_methods)
    found = {name: each for of in parts for name, each in of(sizes, rank, device).items()}
    if rank == 0:
        torch.save(found, file)
    dist.destroy_process_group()


def computed(sizes: list[int], file: Path) -> Found:
    """What so many real processes found."""
    mp.spawn(work, (sizes, free_port(), file), nprocs=len(sizes))
    return torch.load(file, weights_only=True)


@contextmanager
def alone(backend: str, device: torch.device) -> Iterator[None]:
    """This process as the only one of its group."""
    on_card: dict[str, Any] = {"device_id": device} if device.type == "cuda" else {}
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    dist.init_process_group(backend, store=store, rank=0, world_size=1, **on_card)
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def by_ddp(words: list[str]) -> int:
    """`main_contrastive.py`, whose one process trains as one of many do."""
    import main_contrastive

    made = trainer.make_trainer

    def make(config: Any, folder: Any, checkpoint: Any, callbacks: Any, options: Any, *_: Any):
        sync = SyncEverywhere(options["accelerator"] == "gpu")
        options = options | {"strategy": "ddp"}
        return made(config, folder, checkpoint, callbacks, options, [sync])

    trainer.make_trainer = make
    return main_contrastive.main(words)


if __name__ == "__main__":
    sys.exit(by_ddp(sys.argv[1:]))
