"""One pass of a frozen encoder over a data set."""

from typing import Any

import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from cl.checkpoints import fingerprint
from cl.data.batch import Batch
from cl.data.module import PlainLoader

Features = tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]


class Extractor(pl.LightningModule):
    """A frozen encoder for `Trainer.predict`: in evaluation mode, without a graph.

    Args:
        encoder: that is looked at.
        samples: of this process, whose features it collects.
        channels_last: the layout in memory.
    """

    def __init__(self, encoder: nn.Module, samples: int, channels_last: bool = True) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = encoder.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        self.h: Tensor | None = None
        self.labels, self.done = torch.empty(samples, dtype=torch.long), 0

    def predict_step(self, batch: Batch, _: int) -> int:
        """Keep features; how many there are by now (Lightning warns where nothing comes back)."""
        images = rearrange(batch.views[0], "v n c h w -> (v n) c h w")
        h = self.encoder(images.contiguous(memory_format=self.layout)).float().cpu()
        if self.h is None:
            with torch.inference_mode(False):  # what is made inside of it nothing can learn from
                self.h = h.new_empty(len(self.labels), h.shape[1])
        assert self.h is not None
        rows = slice(self.done, self.done + len(h))
        self.h[rows], self.labels[rows] = h, batch.labels.cpu()
        self.done += len(h)
        return self.done


def extract(
    encoder: nn.Module,
    loader: PlainLoader,
    *,
    channels_last: bool = True,
    console: Console | None = None,
    **hardware: Any,
) -> Features:
    """Features and labels of everything a plain loader gives, in its order.

    Args:
        encoder: left as it is; that its weights and buffers are is checked.
        loader: of one view a sample.
        channels_last: the layout in memory.
        console: for the progress.
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
    extractor = Extractor(encoder, loader.samples, channels_last)
    batches = track(loader, "features", console=console, transient=True, disable=console is None)
    trainer.predict(extractor, batches, return_predictions=False)  # pyright: ignore[reportArgumentType]
    if fingerprint(encoder) != before:
        raise RuntimeError("the frozen encoder changed while its features were taken")
    assert extractor.h is not None
    return extractor.h, extractor.labels
