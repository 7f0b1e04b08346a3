"""Every loss and every method on one process and on several: how far value and gradient differ.

`tests/distributed/test_exact.py` bounds these numbers, `docs/exactness.py` writes them down.
"""

import inspect
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from cl import distributed
from cl.config.signature import methods
from cl.data.batch import Batch
from cl.losses import NAMES, get_loss
from cl.losses.sigmoid import sigmoid
from cl.methods._base import Method
from cl.nets.encoders import create
from cl.nets.norm import SyncEverywhere
from tests.methods.made import OF_IMAGES as METHODS
from tests.methods.made import made

SAMPLES = 24
SHARDS = {  # of the 24 samples, on 1 to 4 processes
    "1": [24],
    "2": [12, 12],
    "2 uneven": [17, 7],
    "3": [8, 8, 8],
    "3 uneven": [1, 16, 7],
    "4": [6, 6, 6, 6],
    "4 uneven": [2, 9, 1, 12],
}
DTYPES = {"64": torch.float64, "32": torch.float32}
BOUNDS = {"64": 1e-10, "32": 1e-5}
METHOD, BUFFERS, REDUCTIONS, HALVES = "method", "buffers", "reductions", "halves"
Found = dict[str, list[Tensor]]  # by name: the value, and the gradient of every parameter
Steps = Callable[[list[int], int], Mapping[str, Any]]  # of the samples of each process, and a rank


def error(ours: list[Tensor], expected: list[Tensor]) -> tuple[float, float]:
    """Relative errors of a value and of all gradients together, in the norm of the right ones.

    Below 1 the norm counts as 1: of a gradient that is zero there is no relative error.
    """
    (value, *gradients), (right, *right_gradients) = (
        [t.double() for t in side] for side in (ours, expected)
    )
    flat, right_flat = (torch.cat([g.flatten() for g in s]) for s in (gradients, right_gradients))
    return (
        float((value - right).abs() / right.abs().clamp(min=1)),
        float((flat - right_flat).norm() / right_flat.norm().clamp(min=1)),
    )


class Problem:
    """A linear head on fixed inputs, of which this process has a shard.

    Args:
        sizes: samples of each process.
        rank: which of them this is.
        dtype: of the whole computation.
    """

    def __init__(self, sizes: list[int], rank: int, dtype: torch.dtype) -> None:
        g = torch.Generator().manual_seed(0)
        x = torch.randn(3, sum(sizes), 12, generator=g, dtype=torch.float64).to(dtype)
        weight = torch.randn(12, 8, generator=g, dtype=torch.float64).to(dtype)
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        self.weight, self.temperature = weight, torch.tensor(0.3, dtype=dtype)
        self.ids, self.own = torch.arange(sum(sizes)) % 5, own
        self.z = x[:, own] @ self.weight.requires_grad_()
        self.share = distributed.loss_weight(torch.tensor(sizes[rank]))
        self.parameters = [self.weight]

    def batched(self, name: str, labels: bool, views: int = 2, **options: Any) -> Tensor:
        """A loss of all processes' samples, as methods call it; its temperature learns too."""
        known = inspect.signature(get_loss(name)).parameters
        if "temperature" in known:
            options["temperature"] = self.temperature.requires_grad_()
            self.parameters.append(self.temperature)
        z, rows = distributed.gather(self.z[:views])
        return get_loss(name)(z, self.ids if labels else None, rows, **options)

    def of_samples(self, name: str) -> Tensor:
        """A loss whose samples do not meet: each process's own, weighted by their number."""
        z, same = self.z, self.ids[self.own] < 2
        inputs: dict[str, tuple[Tensor, ...]] = {
            "p z": (z[:2], z[:2].detach().flip(0)),
            "z same": (z[:2], same),
            "z": (z,),
            "data noise": (z[0].sum(dim=1), z[1].sum(dim=1)),
            "q k queue": (z[0], z[1].detach(), self.weight.detach().to(z)),
        }
        return get_loss(name)(*inputs[" ".join(positional(name))])

    def of_directions(self, name: str) -> Tensor:
        """A loss of the distribution of all processes' samples along directions."""
        z, _ = distributed.gather(self.z)
        return get_loss(name)(z, self.weight.detach().to(z), 2)

    def of_spaces(self) -> Tensor:
        """Leave-one-out contrast in two spaces, of three views each."""
        z, rows = distributed.gather(torch.cat([self.z, self.z.flip(0)]))
        return get_loss("looc")(z.unflatten(0, (2, 3)), rows)

    def of_ranks(self, name: str) -> Tensor:
        """A loss of scored pairs, compared with those of all processes."""
        scores = self.ids[self.own].to(self.z.dtype)
        z, scores = (distributed.gather(t)[0] for t in (self.z[:2], scores[None]))
        return get_loss(name)(z, scores[0])


def positional(name: str) -> list[str]:
    """The names of a loss's inputs; its options are keyword-only."""
    known = inspect.signature(get_loss(name)).parameters.values()
    return [p.name for p in known if p.kind is p.POSITIONAL_OR_KEYWORD]


def losses() -> Iterator[tuple[str, Callable[[Problem], Tensor]]]:
    """Every loss of the package, with and without class ids where it takes them."""
    for name in NAMES:
        signature = [*inspect.signature(get_loss(name)).parameters]
        if signature[:3] == ["z", "ids", "rows"]:
            yield name, lambda p, name=name: p.batched(name, False)
            if name not in ("barlow_twins", "vicreg"):
                yield f"{name}, ids", lambda p, name=name: p.batched(name, True)
        elif signature[1:2] == ["rows"]:
            yield name, lambda p: p.of_spaces()
        elif "directions" in signature:
            yield name, lambda p, name=name: p.of_directions(name)
        elif "scores" in signature:
            yield name, lambda p, name=name: p.of_ranks(name)
        else:
            yield name, lambda p, name=name: p.of_samples(name)
    yield "supcon in", lambda p: p.batched("supcon", True, positives="in")
    yield "sigmoid, alpha", lambda p: p.batched("sigmoid", False, alpha=0.5)
    yield "nt_xent, 3 views", lambda p: p.batched("nt_xent", False, views=3)
    yield "vicreg, 3 views", lambda p: p.batched("vicreg", False, views=3)


def of_losses(sizes: list[int], rank: int, dtype: torch.dtype) -> Found:
    """Every loss's value and gradients, weighted as `Method` does."""
    found = {}
    for name, loss in losses():
        problem = Problem(sizes, rank, dtype)
        value = loss(problem) * problem.share
        found[name] = [value.detach(), *torch.autograd.grad(value, problem.parameters)]
    return found


# How the batch is computed: the encoder's norm, samples at a time on W processes and on one.
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "": ("batch", {}, {}),
    ", group norm": ("group", {}, {}),
    ", group norm, 5 at a time": ("group", {"mini_batch_size": 5}, {}),
    ", frozen batch norm, 5 at a time": (
        "batch",
        {"mini_batch_size": 5, "mini_batch_norm": "frozen"},
        {"mini_batch_size": SAMPLES, "mini_batch_norm": "frozen"},
    ),
}


def small(name: str, encoder: nn.Module, **options: Any) -> Method:
    """A method whose loss has each of its terms: SigLIP's with the confidence penalty.

    A loss with a `scale` has 1: at 20 it makes 20 times as much of float32's rounding of
    embeddings.
    """
    own = methods()[name]
    loss: dict[str, Any] = {}
    if "gamma_steps" in own.options:
        loss["loss"] = partial(sigmoid, gamma=0.5)
    if own.loss and "scale" in inspect.signature(get_loss(own.loss)).parameters:
        loss["loss"] = partial(get_loss(own.loss), scale=1.0)
    return made(name, encoder, **loss, **options)


class Step(nn.Module):
    """A training step as DDP wants it; small and large views, some samples without a label."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        return self.method.training_step(batch, 0)["loss"]


def of_methods(sizes: list[int], rank: int, dtype: torch.dtype) -> Found:
    """Every method's loss and gradients after one step, by DDP where there are processes."""
    many = distributed.world_size() > 1
    g = torch.Generator().manual_seed(0)
    whole = torch.randn(4, sum(sizes), 3, 16, 16, generator=g, dtype=torch.float64).to(dtype)
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    labels = torch.arange(sum(sizes)) % 4 - 1
    found: Found = {}
    for name in METHODS:
        for way, (norm, options, alone) in WAYS.items():
            torch.manual_seed(0)
            encoder = create("resnet6_w8", 16, norm=norm)
            method = small(name, encoder, **(options if many else alone)).to(dtype)
            SyncEverywhere().apply(method)
            step: nn.Module = Step(method)
            reductions: list[int] = []
            if many:
                ddp = DistributedDataParallel(step)
                ddp.register_comm_hook(reductions, counted)
                step = ddp
            loss = step(Batch([whole[:, own]], labels[own], torch.arange(sum(sizes))[own]))
            loss.backward()
            method.after_step(1)
            gradients = [p.grad for p in step.parameters() if p.requires_grad]
            key = f"{METHOD} {name}{way}"
            found[key] = [loss.detach(), *(g for g in gradients if g is not None)]
            found[f"{key} {BUFFERS}"] = [loss.detach(), *(b.to(dtype) for b in step.buffers())]
            found[f"{key} {REDUCTIONS}"] = [torch.tensor(len(reductions))]
    return found


def of_halves() -> Found:
    """The sum of all processes' gradients of a sample in bfloat16, each a tie if it is rounded."""
    z = torch.ones(1, 2, 1, dtype=torch.bfloat16, requires_grad=True)
    everyone, _ = distributed.gather(z)
    loss = (everyone.float() * (distributed.rank() + 1) * (1 + 2**-8)).sum()
    (gradient,) = torch.autograd.grad(loss, z)
    return {HALVES: [gradient.float()]}


def counted(seen: list[int], bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DDP's own all-reduce of a bucket of gradients, counted."""
    seen.append(bucket.index())
    return allreduce_hook(dist.group.WORLD, bucket)  # pyright: ignore[reportArgumentType]


def everything(
    sizes: list[int], rank: int, methods_in: Collection[str] = DTYPES
) -> dict[str, Found]:
    """What one of the processes finds of losses and methods, by the bits of its numbers."""
    found: dict[str, Found] = {}
    for bits, dtype in DTYPES.items():
        found[bits] = of_losses(sizes, rank, dtype)
        for tensors in found[bits].values():
            for part in tensors:
                part.copy_(
                    distributed.all_reduce_sum(part) / len(sizes)
                )  # what DDP does to gradients
        known = of_methods(sizes, rank, dtype) if bits in methods_in else {}
        for name, tensors in known.items():
            if not name.endswith(REDUCTIONS):
                tensors[0] = distributed.all_reduce_sum(tensors[0]) / len(sizes)
            found[bits][name] = tensors
    return found | {"16": of_halves()}


def work(rank: int, sizes: list[int], file: Path, steps: Steps) -> None:
    """One of the processes; they meet by a file beside the one that is written."""
    torch.set_num_threads(1)
    if len(sizes) > 1:
        store = dist.FileStore(str(file.with_suffix(".store")), len(sizes))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=len(sizes))
    found = steps(sizes, rank)
    if rank == 0:
        torch.save(found, file)
    if len(sizes) > 1:
        dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def computed(sizes: list[int], file: Path, steps: Steps = everything) -> dict[str, Any]:
    """What so many real processes found in their steps; a file that is written on the way."""
    mp.spawn(work, (sizes, file, steps), nprocs=len(sizes))
    return torch.load(file, weights_only=True)


def names() -> list[str]:
    """All losses, then all methods, as `Found` has them."""
    of_methods = [f"{METHOD} {name}{way}" for name in METHODS for way in WAYS]
    return [*(name for name, _ in losses()), *of_methods]
