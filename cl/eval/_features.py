"""Features of a frozen encoder, from one pass over the images."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from cl import checkpoints
from cl.data.batch import Batch
from cl.data.distinct import Distinct
from cl.data.loaders.texts import TextLoader
from cl.data.module import PlainLoader
from cl.eval._result import Features
from cl.nets.encoders import dtype_of


def extract_features(
    encoder: nn.Module,
    loader: PlainLoader | TextLoader,
    *,
    channels_last: bool = True,
    console: Console | None = None,
    allocate: Callable[[int, int], Tensor] = torch.empty,
    **hardware: Any,
) -> Features:
    """Extract the features of all samples of a loader, in the order of their numbers.

    Args:
        encoder: `(n c h w)` images or `(n l)` tokens to `(n d)` features; it runs in evaluation
            mode and is left as it was, which is checked.
        loader: gives one view a sample.
        channels_last: the layout in memory.
        console: shows the progress.
        allocate: makes room for so many features of such a width, in float32.
        hardware: `accelerator`, `devices` (one) and `precision` of Lightning's Fabric.

    Returns:
        Features `(n d)` in float32 and labels `(n)`, on the CPU.

    Raises:
        RuntimeError: the pass changed the encoder (a BatchNorm in training mode, say).
        ValueError: a feature is NaN or infinite.
    """
    h, labels = None, torch.empty(loader.samples, dtype=torch.long)
    hidden = console is None
    batches = track(loader, "features", console=console, transient=True, disable=hidden)
    how = {"channels_last": channels_last, **hardware}
    for part, known, index in feature_batches(encoder, batches, **how):
        h = allocate(len(labels), part.shape[1]) if h is None else h
        h[index - loader.first], labels[index - loader.first] = part, known
    assert h is not None
    return h, labels


def feature_batches(
    encoder: nn.Module, batches: Iterable[Batch], *, channels_last: bool = True, **hardware: Any
) -> Iterator[tuple[Float[Tensor, "n d"], Int[Tensor, " n"], Int[Tensor, " n"]]]:
    """Extract features batch by batch.

    Args:
        encoder: see `extract_features`.
        batches: of views of one size.
        channels_last: the layout in memory.
        hardware: see `extract_features`.

    Yields:
        Features `(n d)` in float32, labels `(n)` and numbers `(n)` of each batch, on the CPU.

    Raises:
        RuntimeError: the pass changed the encoder.
        ValueError: a feature is NaN or infinite.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    kind = dtype_of(encoder)
    with frozen_encoder(encoder):
        fabric = Fabric(**hardware)
        laid_out = encoder.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        module = fabric.setup_module(laid_out)
        for batch in batches:
            x = rearrange(batch.views[0], "v n ... -> (v n) ...")
            with torch.inference_mode():
                x = fabric.to_device(x)
                if x.is_floating_point():
                    x = x.to(kind).contiguous(memory_format=layout)
                part = module(x).float().cpu()
            check_features(part, batch.index)
            yield part.clone(), batch.labels, batch.index


def at_all_places(
    parts: Iterable[tuple[Tensor, Tensor, Tensor]], each: Distinct
) -> Iterator[tuple[Float[Tensor, "n d"], Int[Tensor, " n"], Int[Tensor, " n"]]]:
    """The features of texts that were encoded once, at every place where one stands.

    Args:
        parts: features, labels and numbers, these the first places of the texts.
        each: the texts.

    Yields:
        The same of all places.
    """
    for h, labels, index in parts:
        found = each.places(each.numbers[index.numpy()])
        places, which = (torch.from_numpy(x) for x in found)
        yield h[which], labels[which], places


def check_features(h: Float[Tensor, "n d"], index: Int[Tensor, " m"]) -> None:
    """Check the features of a batch, so that nothing is computed of NaN.

    Raises:
        ValueError: with the number of the first image whose features are not finite.
    """
    broken = ~h.isfinite().all(dim=1)
    if broken.any():
        at = int(index[broken.nonzero()[0, 0] % len(index)])
        raise ValueError(
            f"the features of image {at:,} are not finite (NaN or infinite): the image's pixels or "
            "the encoder's computation are not; --precision 32 helps where numbers overflow"
        )


@contextmanager
def frozen_encoder(encoder: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards modes, device and memory layout are as they were before.

    Raises:
        RuntimeError: a weight or a buffer has another value afterwards.
    """
    before = checkpoints.fingerprint(encoder)
    modes = [(module, module.training) for module in encoder.modules()]
    weights = [(weight, weight.data) for weight in encoder.parameters()]
    buffers = [
        (module, name, buffer)
        for module in encoder.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    encoder.eval()
    try:
        yield
        after = checkpoints.fingerprint(encoder)
    finally:
        for module, mode in modes:
            module.training = mode
        for weight, data in weights:
            weight.data = data
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
    if after != before:
        raise RuntimeError("the frozen encoder changed while its features were extracted")
