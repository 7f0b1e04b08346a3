"""Options of large batches: memory, and several devices."""

from dataclasses import dataclass
from typing import Literal

from cl.config.options._needs import OF_IMAGES
from cl.config.schema import flag


@dataclass(frozen=True, kw_only=True)
class LargeOptions:
    """How a large batch is computed, on one device and on several."""

    sync_batchnorm: bool = flag("compute batch norm over the samples of all devices", True)
    mini_batch_size: int | None = flag(
        "samples per device that are embedded at a time; the loss still compares the whole batch, "
        "with the memory of a mini-batch and a second forward pass (gradient caching, "
        "https://arxiv.org/abs/2101.06983)",
        None,
        low=1,
        shown="all at once",
    )
    mini_batch_norm: Literal["chunk", "frozen"] = flag(
        "statistics of the encoder's batch norm with --mini_batch_size: those of each mini-batch, "
        "or the running ones, which are then frozen",
        "chunk",
        needs=("mini_batch_size", None),
    )
    checkpoint_activations: bool = flag(
        "keep only what goes into the encoder's blocks for the backward pass, and compute them a "
        "second time in it (https://arxiv.org/abs/1604.06174)",
        False,
    )
    strategy: Literal["ddp", "fsdp"] = flag(
        "how several devices train: ddp has the whole encoder on each, fsdp a part of its weights, "
        "gradients and optimizer states (FSDP2, https://arxiv.org/abs/2304.11277)",
        "ddp",
    )
    compile: bool = flag(
        "compile the training of encoder and heads (torch.compile), which takes a minute or more "
        "at the start of a run and needs a C++ compiler",
        False,
        needs=OF_IMAGES,
    )
