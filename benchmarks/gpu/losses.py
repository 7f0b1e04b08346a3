"""Losses, forward and backward: ours beside the plain formula and lightly's, time and memory."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.formulas import FORMULAS, T, arguments
from benchmarks.gpu.part import Given, Table, given, milliseconds
from benchmarks.loss import DIM, lightlys
from cl.losses import get_loss

NAMES = (
    *("nt_xent", "dcl_symmetric", "dhel", "clip", "kcl", "sigmoid", "supcon", "info_nce", "mnrl"),
    *("debiased", "hcl"),
)
LARGE = 16_384  # rows from which on only the best known loss is compared
FAR = 1e-4  # relative difference of two float32 implementations' values that is one too many


def entrants(name: str, z: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Who computes this loss; SupCon by classes, the others by instances."""
    known = arguments(name, z.shape[1], z.device)
    options = {} if name == "kcl" else {"temperature": T}
    found = {
        "ours": partial(get_loss(name), **options, **known),
        "plain": partial(FORMULAS[name], **known),
    }
    if options:  # learned on the card, so that it is not read
        learned = torch.tensor(T, device=z.device, requires_grad=True)
        found["ours, learned"] = partial(get_loss(name), temperature=learned, **known)
    peer = lightlys(name)
    return found | ({"lightly": peer} if peer else {})


def compare(table: Table, g: Given, name: str, rows: int) -> None:
    """One size of one loss: a row for each implementation."""
    torch.manual_seed(rows)
    z = torch.randn(2, rows // 2, DIM, device=g.device, requires_grad=True)
    values: dict[str, float] = {}
    times: dict[str, float] = {}
    for who, loss in entrants(name, z).items():

        def step(loss: Callable[[Tensor], Tensor] = loss) -> Tensor:
            z.grad = None
            value = loss(z)
            value.backward()
            return value.detach()

        try:
            peak = memory(step, g.device)
            values[who] = step().item()
            times[who] = milliseconds(step, g.device, 0.05 if g.rehearse else 0.12)
        except torch.OutOfMemoryError:
            table.row(name, rows, who, "out of memory", "", "", "")
            continue
        ratio = f"{times[who] / times['ours']:.2f}" if "ours" in times else ""
        table.row(name, rows, who, f"{times[who]:.3f}", peak, f"{values[who]:.5f}", ratio)
    table.check(f"{name}, {rows} rows: ours has room", "ours" in values)
    for who, value in values.items() if "ours" in values else ():
        near = abs(value - values["ours"]) <= FAR * abs(value)
        table.check(f"{name}, {rows} rows: {who} {value}, ours {values['ours']}", near)


def memory(step: Callable[[], Tensor], device: torch.device) -> str:
    """Peak of a step in MB, beyond what was there."""
    if device.type != "cuda":
        step()
        return "-"
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return f"{(torch.cuda.max_memory_allocated() - before) / 1e6:,.0f}"


def main() -> None:
    g = given()
    end = time.perf_counter() + g.seconds
    table = g.table(
        f"loss, forward and backward, float32, d {DIM}; plain: the formula with the whole matrix",
        *("loss", "rows", "whose", "ms", "peak MB", "value", "times ours"),
    )
    sizes = [64, 256] if g.rehearse else [64, 512, 2048, 4096, 8192, 16384, 65536]
    for rows in sizes:
        for name in NAMES if rows <= LARGE else ("nt_xent",):
            if time.perf_counter() > end - 5 and not g.rehearse:
                table.note(f"no time was left for {name} at {rows} rows")
                continue
            compare(table, g, name, rows)


if __name__ == "__main__":
    main()
