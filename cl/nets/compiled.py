"""Compiled training: an encoder and its heads by `torch.compile`, in place."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = 32  # tokens (n l) are padded to a multiple of this, each of which is compiled once
SHAPES = 64  # torch compiles 8 functions by default, and counts those of all modules as one's


@contextmanager
def compiled_training(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Compile what modules compute in training mode, for each shape of tensors that they get.

    Neither their classes nor the names in their state dicts change. In evaluation mode, where
    batches have other sizes, nothing is compiled.

    Args:
        modules: each called from outside; at the end they are as they were.
    """
    modules = [*modules]
    for module in modules:
        module.compile(dynamic=False)
        graph = module._compiled_call_impl
        assert graph is not None
        module._compiled_call_impl = partial(call, module, graph)
    try:
        with torch._dynamo.config.patch(recompile_limit=SHAPES):
            yield
    finally:
        for module in modules:
            module._compiled_call_impl = None
        torch._dynamo.reset()


def call(module: nn.Module, graph: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a module, compiled only while it is trained."""
    if not module.training:
        return module._call_impl(*args, **options)
    return graph(*map(padded, args), **options)


def padded(x: Any) -> Any:
    """Tokens as wide as the longest text, up to one of a few widths; anything else as it is."""
    if not isinstance(x, torch.Tensor) or x.ndim != 2 or x.is_floating_point() or not x.numel():
        return x
    longest = int((x >= 0).sum(dim=1).max())
    width = max(-(-longest // WIDTHS), 1) * WIDTHS
    return F.pad(x[:, :width], (0, max(0, width - x.shape[1])), value=-1)


def check_compiler(device: torch.device) -> None:
    """Check that functions of tensors on a device can be compiled, by a new one.

    Raises:
        ValueError: they cannot.
    """
    now = time.time_ns()  # which is in no cache
    try:
        torch.compile(lambda x: x + now, dynamic=False)(torch.ones(1, device=device))
    except Exception as error:  # what compilers raise is of many kinds
        why = str(error).partition("\n")[0]
        raise ValueError(f"--compile: nothing can be compiled on this machine: {why}") from error
