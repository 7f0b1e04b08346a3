"""Every loss has the value and the gradient of one process on two and three, shards uneven too."""

import inspect
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from cl import distributed
from cl.losses import NAMES, get_loss
from cl.nets.probe import Standardize

LOSSES = [
    n for n in NAMES if [*inspect.signature(get_loss(n)).parameters][:3] == ["z", "ids", "rows"]
]
SHARDS = {"2": [4, 4], "3": [3, 3, 3], "2 uneven": [5, 2], "3 uneven": [1, 4, 2]}
OPTIONS: dict[str, dict[str, Any]] = {"sigmoid": {"alpha": 0.5}, "supcon": {"positives": "in"}}


def problem(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, the weights of a head, and class ids."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    return x, weight, torch.arange(n) % 3


def of_shard(name: str, sizes: list[int], rank: int, labels: bool) -> tuple[Tensor, Tensor]:
    """A process's loss, weighted as `Method` does, and its gradient of the head."""
    x, weight, ids = problem(sum(sizes))
    first = sum(sizes[:rank])
    own = x[:, first : first + sizes[rank]]
    weight.requires_grad_()
    z, rows = distributed.gather(own @ weight)
    loss = get_loss(name)(z, ids if labels else None, rows, **OPTIONS.get(name, {}))
    loss = loss * distributed.share(torch.tensor(sizes[rank]))
    return loss.detach(), torch.autograd.grad(loss, weight)[0]


def work(rank: int, sizes: list[int], port: int, file: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=len(sizes))
    found = {}
    for name in LOSSES:
        for labels in (False, True):
            means = []
            for part in of_shard(name, sizes, rank, labels):
                dist.all_reduce(part)
                means.append(part / len(sizes))  # what DDP does to gradients
            found[f"{name} {labels}"] = means
    standard, (x, *_) = Standardize(6).double(), problem(sum(sizes))
    first = sum(sizes[:rank])
    standard(x[:, first : first + sizes[rank]])
    found["probe"] = [standard.mean, standard.variance]
    if rank == 0:
        torch.save(found, file)
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=SHARDS)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[int], dict[str, list[Tensor]]]:
    """What real processes computed, all losses in one group."""
    sizes, file = SHARDS[request.param], tmp_path_factory.mktemp("gloo") / "found.pt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (sizes, port, file), nprocs=len(sizes))
    return sizes, torch.load(file, weights_only=True)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(name: str, labels: bool, found: Any) -> None:
    sizes, by_processes = found
    expected = of_shard(name, [sum(sizes)], 0, labels)
    for ours, one in zip(by_processes[f"{name} {labels}"], expected, strict=True):
        assert (ours - one).norm() <= 1e-10 * max(1.0, float(one.norm()))


def test_the_probes_moments(found: Any) -> None:
    sizes, by_processes = found
    standard = Standardize(6).double()
    standard(problem(sum(sizes))[0])
    torch.testing.assert_close(by_processes["probe"], [standard.mean, standard.variance])
