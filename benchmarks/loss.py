"""Losses, forward and backward: ours beside lightly's and beside the formula as it stands.

    python -m benchmarks.loss [--rows 64 256 1024 4096 16384] [--losses nt_xent supcon ...]

float32, two views of rows / 2 samples, 128 dimensions, two threads. The implementations take turns
in one process; a line has the median time of a forward and backward. Memory is kept from step to
step as this program's commands have it (`cl.hardware.keep_memory`), so that a matrix of all pairs
costs less than in a script of one's own, which `loss_by_default` measures.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from benchmarks.formulas import FORMULAS, WIDE, WITHOUT, T, arguments
from benchmarks.ratios import Ratio, by_turns
from cl.hardware import keep_memory
from cl.losses import get_loss

DIM = 128  # dimensions
SIZES = (64, 256, 1024, 4096, 16384)
CORRELATED = ("barlow_twins", "vicreg")  # dimensions are, of which there are more
PLAIN, ENOUGH = "nt_xent", 4096  # of which loss and size products alone are a measure
PRODUCTS = "its matrix products alone"
SMALL = 256  # embeddings, up to which time is Python's
TABLE = "Losses, forward and backward, float32, d 128, memory kept from step to step"
Loss = Callable[..., Tensor]


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


def milliseconds(loss: Loss, z: Tensor) -> float:
    """Of a forward and backward."""
    z.grad = None
    start = time.perf_counter()
    loss(z).backward()
    return (time.perf_counter() - start) * 1e3


def products(z: Tensor) -> float:
    """Milliseconds of the three matrix products that the formula has, and of nothing else."""
    flat = z.detach().flatten(0, 1)
    start = time.perf_counter()
    similarity = flat @ flat.T
    similarity @ flat
    similarity.T @ flat
    return (time.perf_counter() - start) * 1e3


def entrants(name: str, rows: int) -> tuple[dict[str, Loss], Tensor]:
    """Ours and its peers, of embeddings that they all get."""
    z = torch.randn(2, rows // 2, WIDE if name in CORRELATED else DIM, requires_grad=True)
    given, options = arguments(name, rows // 2), {} if name in WITHOUT else {"temperature": T}
    found: dict[str, Loss | None] = {"ours": partial(get_loss(name), **options, **given)}
    found |= {"formula": partial(FORMULAS[name], **given), "lightly": lightlys(name)}
    return {who: loss for who, loss in found.items() if loss}, z


def compare(name: str, rows: int, table: str) -> Iterator[Ratio]:
    """One size of one loss: time."""
    runs, z = entrants(name, rows)
    values = [loss(z.detach()).item() for loss in runs.values()]
    assert max(values) - min(values) < 1e-4 * max(1, abs(values[0])), (name, rows, values)
    floors = {"formula": floor_of(name, rows)}
    times = {who: partial(milliseconds, loss, z) for who, loss in runs.items()}
    if name == PLAIN and rows == ENOUGH:
        times[PRODUCTS], floors[PRODUCTS] = partial(products, z), 0.65
    rounds = max(3, min(100, 30_000 // rows))
    yield from by_turns(table, case(name, rows), "ms", times, rounds, floors, 0)


def case(name: str, rows: int) -> str:
    wide = f" of {WIDE:,} dimensions" * (name in CORRELATED)
    return f"{name}, {rows:,} embeddings{wide}"


def floor_of(name: str, rows: int) -> float:
    """The least that the formula's time may be of ours.

    Of the smallest sizes Python and launches are much of both, of correlations the products.
    """
    return 0.9 if rows <= SMALL or name in CORRELATED else 1.0


def ratios(rows: Sequence[int] = SIZES, names: Sequence[str] = (*FORMULAS,)) -> Iterator[Ratio]:
    """Every loss beside its formula, and lightly's where it has that loss."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    keep_memory()
    for name, size in product(names, rows):
        yield from compare(name, size, TABLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--losses", nargs="+", default=list(FORMULAS), choices=list(FORMULAS))
    given = parser.parse_args()
    for ratio in ratios(given.rows, given.losses):
        print(ratio.line(), flush=True)


if __name__ == "__main__":
    main()
