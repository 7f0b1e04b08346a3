"""Losses, forward and backward: ours beside lightly's and beside the formula as it stands.

    python benchmarks/loss.py [--rows 64 256 1024 4096 16384 65536] [--losses nt_xent supcon ...]

float32, two views of rows / 2 samples, 128 dimensions, two threads. The implementations take turns
in one process; a line has the median time and the peak memory beyond what was there before, and
ours as ratios. The largest size is ours alone: the others would need tens of gigabytes.
"""

import argparse
import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cl.losses import get_loss

T, DIM, ALONE = 0.2, 128, 20_000  # temperature, dimensions, rows from which ours runs alone
CLASSES = 100  # of SupCon
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


NAIVE: dict[str, Loss] = {
    "nt_xent": naive_nt_xent,
    "dcl_symmetric": naive_dcl,
    "dhel": naive_dhel,
    "clip": naive_clip,
    "kcl": naive_kcl,
    "sigmoid": naive_sigmoid,
    "supcon": naive_supcon,
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


def compare(name: str, rows: int) -> None:
    """One size of one loss: a line for each implementation."""
    z = torch.randn(2, rows // 2, DIM, requires_grad=True)
    ids = {"ids": torch.arange(rows // 2) % CLASSES} if name == "supcon" else {}
    options = {} if name == "kcl" else {"temperature": T}
    ours: Loss = partial(get_loss(name), **options, **ids)
    entrants = {"ours": ours}
    if rows < ALONE:
        entrants |= {"naive": partial(NAIVE[name], **ids), "lightly": lightlys(name)}
    entrants = {k: v for k, v in entrants.items() if v}
    values = {who: loss(z.detach()).item() for who, loss in entrants.items()}
    peaks = {who: megabytes(loss, z) for who, loss in entrants.items()}
    rounds = max(3, min(100, 30_000 // rows)) if rows < ALONE else 1
    taken: dict[str, list[float]] = {who: [] for who in entrants}
    for _ in range(rounds):
        for who, loss in entrants.items():
            taken[who].append(milliseconds(loss, z))
    times = {who: statistics.median(each) for who, each in taken.items()}
    for who in entrants:
        ratio, larger = times[who] / times["ours"], peaks[who] / max(peaks["ours"], 0.1)
        print(
            f"{name:14} {rows:6} rows  {who:8} {times[who]:10.2f} ms {peaks[who]:8.1f} MB  "
            f"loss {values[who]:.5f}  n={rounds}"
            + ("" if who == "ours" else f"  {ratio:6.2f} x our time, {larger:5.1f} x our memory"),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384, 65536])
    parser.add_argument("--losses", nargs="+", default=list(NAIVE), choices=list(NAIVE))
    given = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d {DIM}")
    for name in given.losses:
        for rows in given.rows:
            compare(name, rows)


if __name__ == "__main__":
    main()
