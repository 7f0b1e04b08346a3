"""The table a run starts with: what the settings amount to, before an hour is spent on them."""

import copy
from collections.abc import Mapping

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from cl import losses


def activations(encoder: nn.Module, sizes: list[int]) -> int:
    """Bytes that autograd keeps for one float32 view of each size, found without computing.

    The encoder runs on the meta device, where tensors have shapes and no data.

    Args:
        encoder: is copied.
        sizes: side of the images in pixels, one for each view of a sample.
    """
    twin = copy.deepcopy(encoder).to("meta")
    kept: dict[int, int] = {}  # bytes by storage: two layers may keep one tensor, or a view of it

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        graphs = [twin(torch.empty(2, 3, size, size, device="meta")) for size in sizes]
    for weight in (*twin.parameters(), *twin.buffers()):
        kept.pop(weight.untyped_storage()._cdata, None)
    del graphs  # until here, so that no storage's address was another's before
    return sum(kept.values()) // 2


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


def distributed(nodes: int, per_node: int, accelerator: str) -> dict[str, object]:
    """The row about processes; none where there is only one."""
    if nodes * per_node == 1:
        return {}
    backend = "nccl" if accelerator == "gpu" else "gloo"
    where = f"{nodes} node{'s' * (nodes > 1)} x {per_node}"
    return {"world size": f"{nodes * per_node} processes, {where}, {backend}"}


def show(title: str, rows: Mapping[str, object], console: Console) -> None:
    """Print the table."""
    table = Table(title=escape(title), show_header=False, title_justify="left", title_style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else escape(str(value)))
    console.print(table)


def negatives(loss: str, batch: int, views: int) -> str:
    """Say how many embeddings of other samples a loss contrasts an anchor with.

    Args:
        loss: its name; empty where the method has a loss of its own.
        batch: samples in the global batch.
        views: views per sample.
    """
    count = losses.negatives(loss, views, batch) if loss else None
    if count is None:
        return "unknown: the loss does not say"
    return f"{count:,} of other samples" if count else "none"
