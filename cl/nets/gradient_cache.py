"""Gradient caching: a batch as large as its loss wants, in the memory of a small one.

Gao et al. 2021 (https://arxiv.org/abs/2101.06983). The chunks of a batch are embedded without
keeping what their backward needs; the loss takes all embeddings at once; in the backward every
chunk is computed a second time, with the random numbers it had, and its gradient taken. That is one
backward of the whole batch to everything around it: one gradient all-reduce a step, one optimizer
step, and accumulation, clipping and mixed precision as without it. It costs one more forward of all
chunks but the last, whose backward comes first: what it needs is kept.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from cl.distributed import all_reduce_max, world_size

Norm = Literal["chunk", "frozen"]


def embed_in_chunks(
    encode: Callable[[Tensor], Tensor],
    x: Shaped[Tensor, "v n ..."],
    size: int,
    encoder: nn.Module,
    norm: Norm = "chunk",
    *,
    more: bool = False,
) -> Float[Tensor, "v n d"]:
    """`encode(x)` in chunks of at most `size` samples, whose backward recomputes chunk by chunk.

    All processes have the same number of chunks, so that they meet at each exchange.

    Args:
        encode: from `(v m ...)` inputs to `(v m d)` features.
        x: the views of this process's samples.
        size: samples in a chunk.
        encoder: its running statistics are updated once per chunk, not when it is recomputed.
        norm: BatchNorm mode: per-chunk statistics (`chunk`), or running statistics, which do not
            change then (`frozen`).
        more: whether other inputs go through the encoder after these, before the backward; then
            the last chunk here is computed again like the others.
    """
    most = x.shape[1]
    if world_size() > 1:  # on a GPU the answer is waited for
        most = int(all_reduce_max(torch.tensor(most, device=x.device)))
    number = -(-most // size)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        if norm == "frozen":
            return frozen(encoder), frozen(encoder)
        return nullcontext(), unmoved(encoder)

    chunks = x.tensor_split(number, dim=1)
    if not torch.is_grad_enabled():  # nothing to recompute, and `checkpoint` would skip `contexts`
        with contexts()[0]:
            return torch.cat([encode(chunk) for chunk in chunks], dim=1)
    again = chunks if more else chunks[:-1]
    parts = [checkpoint(encode, c, use_reentrant=False, context_fn=contexts) for c in again]
    with contexts()[0]:
        parts += [encode(chunk) for chunk in chunks[len(again) :]]
    return torch.cat(parts, dim=1)  # pyright: ignore[reportArgumentType]


@contextmanager
def frozen(encoder: nn.Module) -> Iterator[None]:
    """BatchNorm layers as in evaluation."""
    training = [m for m in encoder.modules() if isinstance(m, _BatchNorm) and m.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()


@contextmanager
def unmoved(encoder: nn.Module) -> Iterator[None]:
    """Restore the encoder's buffers at the end."""
    held = [(m, k, b) for m in encoder.modules() for k, b in m.named_buffers(recurse=False)]
    for module, name, buffer in held:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in held:
            setattr(module, name, buffer)
