"""One pass of a frozen encoder over a data set, kept on disk for whoever asks again."""

import hashlib
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl import distributed
from cl.checkpoints import fingerprint
from cl.data.batch import Batch
from cl.data.sources import Images

Features = tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]


class Extractor(pl.LightningModule):
    """A frozen encoder for `Trainer.predict`: in evaluation mode, without a graph."""

    def __init__(self, encoder: nn.Module, channels_last: bool = True) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = encoder.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]

    def predict_step(self, batch: Batch, _: int) -> Features:
        images = rearrange(batch.views[0], "v n c h w -> (v n) c h w")
        h = self.encoder(images.contiguous(memory_format=self.layout))
        return h.float().cpu(), batch.labels.cpu()


def extract(encoder: nn.Module, loader: Iterable[Batch], **hardware: Any) -> Features:
    """Features and labels of everything a plain loader gives, in its order.

    Args:
        encoder: left as it is; that its weights and buffers are is checked.
        loader: of one view a sample.
        hardware: `accelerator`, `devices` (one) and `precision` of Lightning's Trainer.

    Raises:
        RuntimeError: the encoder is another one afterwards (a BatchNorm in training mode, say).
    """
    before = fingerprint(encoder)
    trainer = pl.Trainer(
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **hardware,
    )
    parts = trainer.predict(Extractor(encoder), loader)  # pyright: ignore[reportArgumentType]
    assert parts is not None
    if fingerprint(encoder) != before:
        raise RuntimeError("the frozen encoder changed while its features were taken")
    h, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return h, labels


def key_of(encoder: nn.Module, images: Images, transform: str) -> str:
    """What features depend on: the encoder's bits, the data's, and how images are prepared."""
    digest = hashlib.sha256(f"{fingerprint(encoder)} {transform}".encode())
    digest.update(np.ascontiguousarray(images.labels).data)
    if images.pixels is not None:
        digest.update(np.ascontiguousarray(images.pixels).data)
    if images.files is not None:
        for at in range(len(images.files)):
            digest.update(images.files.key(at).encode())
    return digest.hexdigest()[:16]


def sum_of(images: Images) -> str:
    """sha256 of the labels and, of images in memory, of the pixels: wherever the files are."""
    digest = hashlib.sha256(np.ascontiguousarray(images.labels).data)
    if images.pixels is not None:
        digest.update(np.ascontiguousarray(images.pixels).data)
    return digest.hexdigest()


def stored(file: Path) -> Features | None:
    """Features kept earlier, mapped and not read into memory; None if they are not whole."""
    labels = file.with_suffix(".labels.npy")
    if not (file.exists() and labels.exists()):
        return None
    try:
        h, known = np.load(file, mmap_mode="r"), np.load(labels)
    except (OSError, ValueError, EOFError):  # cut short by a full disk or a crash
        return None
    with warnings.catch_warnings():  # that the map is not writable is the point of it
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(h), torch.from_numpy(known)


def store(file: Path, features: Features, samples: int) -> None:
    """Keep features of which each process has its shard; the file appears when it is complete.

    Args:
        file: on a file system that all processes see.
        features: of this process's `shard`.
        samples: of all processes.
    """
    first = samples * distributed.rank() // distributed.world_size()
    file.parent.mkdir(parents=True, exist_ok=True)
    for path, tensor in ((file.with_suffix(".labels.npy"), features[1]), (file, features[0])):
        new, own = path.with_suffix(".new.npy"), tensor.contiguous().numpy()
        row = own.dtype.itemsize * int(np.prod(own.shape[1:]))
        if distributed.rank() == 0:
            np.lib.format.open_memmap(new, "w+", own.dtype, (samples, *own.shape[1:])).flush()
        for turn in range(distributed.world_size()):
            # One after the other and no page twice: hosts that share the folder keep pages of it.
            distributed.wait()
            if turn == distributed.rank():
                with new.open("r+b") as written:
                    written.seek(new.stat().st_size - (samples - first) * row)
                    written.write(own.tobytes())
                    written.flush()
                    os.fsync(written.fileno())
        distributed.wait()
        if distributed.rank() == 0:
            new.replace(path)
    distributed.wait()
