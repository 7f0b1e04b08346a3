"""The table a run starts with: what the settings amount to, before an hour is spent on them."""

import copy
from collections.abc import Mapping

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn


def activations(encoder: nn.Module, sizes: list[int]) -> int:
    """Bytes that autograd keeps for one float32 view of each size, found without computing.

    The encoder runs on the meta device, where tensors have shapes and no data.

    Args:
        encoder: is copied.
        sizes: side of the images in pixels, one for each view of a sample.
    """
    twin = copy.deepcopy(encoder).to("meta")
    weights = {id(t) for t in (*twin.parameters(), *twin.buffers())}
    kept = 0

    def pack(t: Tensor) -> Tensor:
        nonlocal kept
        if id(t) not in weights:
            kept += t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        for size in sizes:
            twin(torch.empty(2, 3, size, size, device="meta"))
    return kept // 2


def memory(
    module: nn.Module, encoder: nn.Module, sizes: list[int], batch_size: int, states: int
) -> int:
    """Estimated bytes of a training step on one device: weights, gradients, states, activations.

    Args:
        module: everything that is trained.
        encoder: its part that sees images.
        sizes: side in pixels of each view of a sample.
        batch_size: samples on this device.
        states: tensors the optimizer keeps for each parameter (SGD 1, Adam 2).
    """
    parameters = sum(p.numel() * p.element_size() for p in module.parameters())
    return parameters * (2 + states) + activations(encoder, sizes) * batch_size


def show(title: str, rows: Mapping[str, object], console: Console) -> None:
    """Print the table."""
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)


def negatives(loss: str, batch: int, views: int) -> str:
    """How many embeddings a loss pushes an anchor away from."""
    known = {
        "nt_xent": views * (batch - 1),
        "info_nce": (views - 1) * (batch - 1),
        "dcl": views * (batch - 1),
        "dcl_symmetric": views * (batch - 1),
        "dhel": batch - 1,
    }
    return (
        f"{known[loss]:,} of other samples" if loss in known else "none: this loss pushes no pairs"
    )
