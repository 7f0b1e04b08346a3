"""What the exchange between two processes costs a training step.

    python benchmarks/devices.py [--rounds 7] [--batch_size 32] [ENCODER ...]

Two processes of one thread each train SimCLR on made 32-pixel images: by turns as one run (DDP over
gloo: gradients averaged, embeddings gathered, batch norm over both) and as two independent ones on
the same number of samples each. Prints the medians of the steps of both, and the ratio.
"""

import argparse
import os
import socket
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cl import distributed
from cl.data.batch import Batch
from cl.losses.nt_xent import nt_xent
from cl.methods.simclr import SimCLR
from cl.nets.encoders import create
from cl.nets.norm import SyncEverywhere

STEPS = 3  # timed together, once a round


class Step(nn.Module):
    """A training step as DDP wants it."""

    def __init__(self, encoder: str, synced: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.method = SimCLR(create(encoder, 32), nt_xent, classes=10, hidden_mlp=512)
        if synced:
            SyncEverywhere().apply(self.method)

    def forward(self, batch: Batch) -> Tensor:
        return self.method.training_step(batch, 0)["loss"]


def work(rank: int, port: int, encoder: str, batch_size: int, rounds: int) -> None:
    """One of the two processes."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(rank)
    views = [torch.randn(2, batch_size, 3, 32, 32)]
    batch = Batch(views, torch.arange(batch_size) % 10, torch.arange(batch_size))
    world_size = distributed.world_size
    steps: dict[str, nn.Module] = {
        "independent": Step(encoder, synced=False),
        "one run, own batch norm": DistributedDataParallel(Step(encoder, synced=False)),
        "one run": DistributedDataParallel(Step(encoder, synced=True)),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            distributed.world_size = (lambda: 1) if name == "independent" else world_size
            optimizer = torch.optim.SGD(step.parameters(), 1e-3)
            dist.barrier()
            start = time.perf_counter()
            for _ in range(STEPS):
                optimizer.zero_grad()
                step(batch).backward()
                optimizer.step()
            dist.barrier()
            if turn:  # the first one warms up
                times[name].append((time.perf_counter() - start) / STEPS)
    if rank == 0:
        medians = {name: statistics.median(t) for name, t in times.items()}
        for name, median in medians.items():
            print(
                f"{encoder:12} {batch_size} a process  {name:24} {1000 * median:8.1f} ms a step  "
                f"{median / medians['independent']:.3f} x independent  n={rounds} x {STEPS}"
            )
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoders", nargs="*", default=["resnet6_w32", "resnet18"])
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, 2 processes of one thread, float32, gloo")
    for encoder in given.encoders:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mp.spawn(work, (port, encoder, given.batch_size, given.rounds), nprocs=2)


if __name__ == "__main__":
    main()
