"""Losses, forward and backward: ours beside lightly's and beside the formula as it stands.

    python -m benchmarks.loss [--rows 64 256 1024 4096 16384 65536] [--losses nt_xent supcon ...]

float32, two views of rows / 2 samples, 128 dimensions, two threads. The implementations take turns
in one process; a line has the median time of a forward and backward, or the peak memory beyond what
was there before. The largest size is ours alone: the others would need tens of gigabytes.
"""

import argparse
import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.ratios import Ratio, by_turns
from cl.losses import get_loss

T, DIM, ALONE = 0.2, 128, 20_000  # temperature, dimensions, rows from which ours runs alone
CLASSES = 100  # of SupCon
SIZES = (64, 256, 1024, 4096, 16384, 65536)
SMALL, LARGE = 256, 16384  # up to which time is Python's, and from which memory is compared
WITHOUT = ("kcl",)  # has no temperature
TABLE = "Losses, forward and backward, float32, d 128"
MEMORY = "Losses, peak memory of a forward and backward"
Loss = Callable[..., Tensor]


def naive_nt_xent(z: Tensor) -> Tensor:
    """With the matrix of all similarities, as the paper's listing has it."""
    x = F.normalize(z.flatten(0, 1), dim=1)
    similar = (x @ x.T / T).fill_diagonal_(-torch.inf)
    n = z.shape[1]
    return F.cross_entropy(similar, torch.arange(2 * n, device=z.device).roll(n))


def naive_dcl(z: Tensor) -> Tensor:
    """All views' anchors; the sample's own two views masked."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    similar = x @ x.T / T
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    positive = similar.diagonal(n).repeat(2)
    return (similar.masked_fill(own, -torch.inf).logsumexp(1) - positive).mean()


def naive_dhel(z: Tensor) -> Tensor:
    """The authors' formula with exponentials: one matrix for each view."""
    u, v = F.normalize(z, dim=2)
    loss = z.new_zeros(())
    for x in (u, v):
        off = (x @ x.T / T).exp() * (1 - torch.eye(len(x), device=z.device))
        loss = loss + off.sum(1).log().mean() / 2
    return loss - (u * v).sum(1).mean() / T


def naive_clip(z: Tensor) -> Tensor:
    """The paper's listing."""
    u, v = F.normalize(z, dim=2)
    similar, labels = u @ v.T / T, torch.arange(len(u), device=z.device)
    return (F.cross_entropy(similar, labels) + F.cross_entropy(similar.T, labels)) / 2


def naive_kcl(z: Tensor) -> Tensor:
    """The Gaussian kernel of all distances within a view."""
    u, v = F.normalize(z, dim=2)
    near = (-2 * (u - v).square().sum(1)).exp().mean()
    far = torch.stack([(-2 * torch.pdist(x).square()).exp().mean() for x in (u, v)])
    return 2 * (16 * far.mean() - near)


def naive_sigmoid(z: Tensor) -> Tensor:
    """SigLIP's listing."""
    u, v = F.normalize(z, dim=2)
    signs = 2 * torch.eye(len(u), device=z.device) - 1
    return -F.logsigmoid(signs * (u @ v.T / T - 10)).sum() / len(u)


def naive_supcon(z: Tensor, ids: Tensor) -> Tensor:
    """The mean over positives outside of the logarithm, with both matrices."""
    x, ids = F.normalize(z.flatten(0, 1), dim=1), ids.repeat(2)
    similar = (x @ x.T / T).fill_diagonal_(-torch.inf)
    positive = (ids[:, None] == ids).fill_diagonal_(False)
    log = similar.log_softmax(1).masked_fill(~positive, 0.0)
    return -(log.sum(1) / positive.sum(1)).mean()


def naive_debiased(z: Tensor) -> Tensor:
    """The authors' code, tau+ = 0.1."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    near = (x @ x.T / T).exp()
    positive = near.diagonal(n).repeat(2)
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    count = 2 * n - 2
    negative = near.masked_fill(own, 0.0).sum(1)
    negative = ((negative - 0.1 * count * positive) / 0.9).clamp(min=count * math.exp(-1 / T))
    return -(positive / (positive + negative)).log().mean()


def naive_hcl(z: Tensor) -> Tensor:
    """The authors' code, tau+ = 0.1, beta = 1."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    near = (x @ x.T / T).exp()
    positive = near.diagonal(n).repeat(2)
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    count, near = 2 * n - 2, near.masked_fill(own, 0.0)
    hard = count * near.square().sum(1) / near.sum(1)
    negative = ((hard - 0.1 * count * positive) / 0.9).clamp(min=count * math.exp(-1 / T))
    return -(positive / (positive + negative)).log().mean()


NAIVE: dict[str, Loss] = {
    "nt_xent": naive_nt_xent,
    "dcl_symmetric": naive_dcl,
    "dhel": naive_dhel,
    "clip": naive_clip,
    "kcl": naive_kcl,
    "sigmoid": naive_sigmoid,
    "supcon": naive_supcon,
    "info_nce": naive_clip,  # in both directions it is the same formula
    "debiased": naive_debiased,
    "hcl": naive_hcl,
}


def lightlys(name: str) -> Loss | None:
    """Lightly's loss of that name, if it is installed and has it."""
    try:
        from lightly.loss import DCLLoss, NTXentLoss
    except ImportError:
        return None
    theirs = {"nt_xent": NTXentLoss, "dcl_symmetric": DCLLoss}.get(name)
    if theirs is None:
        return None
    loss = theirs(temperature=T)
    return lambda z: loss(z[0], z[1])


def status(field: str) -> float:
    """A line of /proc/self/status in MB."""
    line = next(x for x in Path("/proc/self/status").read_text().split("\n") if x.startswith(field))
    return int(line.split()[1]) / 1024


def milliseconds(loss: Loss, z: Tensor) -> float:
    """Of a forward and backward."""
    z.grad = None
    start = time.perf_counter()
    loss(z).backward()
    return (time.perf_counter() - start) * 1e3


def megabytes(loss: Loss, z: Tensor) -> float:
    """Peak of a forward and backward, beyond what was there."""
    z.grad = None
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    before = status("VmRSS")
    loss(z).backward()
    return status("VmHWM") - before


def entrants(name: str, rows: int) -> tuple[dict[str, Loss], Tensor]:
    """Ours and its peers, of embeddings that they all get."""
    z = torch.randn(2, rows // 2, DIM, requires_grad=True)
    ids = {"ids": torch.arange(rows // 2) % CLASSES} if name == "supcon" else {}
    options = {} if name in WITHOUT else {"temperature": T}
    found: dict[str, Loss | None] = {"ours": partial(get_loss(name), **options, **ids)}
    if rows < ALONE:
        found |= {"formula": partial(NAIVE[name], **ids), "lightly": lightlys(name)}
    return {who: loss for who, loss in found.items() if loss}, z


def compare(name: str, rows: int) -> Iterator[Ratio]:
    """One size of one loss: time and memory."""
    runs, z = entrants(name, rows)
    values = [loss(z.detach()).item() for loss in runs.values()]
    assert max(values) - min(values) < 1e-4 * max(1, abs(values[0])), (name, rows, values)
    case, floors = f"{name}, {rows:,} embeddings", {"formula": floor_of(name, rows)}
    times = {who: partial(milliseconds, loss, z) for who, loss in runs.items()}
    yield from by_turns(TABLE, case, "ms", times, max(3, min(100, 30_000 // rows)), floors, 0)
    if rows >= LARGE:
        peaks = {who: partial(megabytes, loss, z) for who, loss in runs.items()}
        yield from by_turns(MEMORY, case, "MB", peaks, 1, {"formula": 5.0}, 0)


def floor_of(name: str, rows: int) -> float:
    """The least that the formula's time may be of ours: a launch or two are all of small sizes."""
    return 0.6 if rows <= SMALL else 1.0


def alone(name: str, rows: int) -> str:
    """A size that no peer reaches."""
    runs, z = entrants(name, rows)
    taken, peak = milliseconds(runs["ours"], z), megabytes(runs["ours"], z)
    return f"{name}, {rows:,} embeddings: ours {taken:,.0f} ms, {peak:,.0f} MB, n=1"


def ratios(rows: Sequence[int] = SIZES[:-1], names: Sequence[str] = (*NAIVE,)) -> Iterator[Ratio]:
    """Every loss beside its formula, and lightly's where it has that loss."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    for name in names:
        for size in rows:
            yield from compare(name, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--losses", nargs="+", default=list(NAIVE), choices=list(NAIVE))
    given = parser.parse_args()
    for ratio in ratios([size for size in given.rows if size < ALONE], given.losses):
        print(ratio.line(), flush=True)
    for name in given.losses:
        for size in given.rows:
            if size >= ALONE:
                print(alone(name, size), flush=True)


if __name__ == "__main__":
    main()
