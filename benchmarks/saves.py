"""How long a save holds the training up, beside a bare copy of the same tensors.

    python -m benchmarks.saves

SimCLR with a ResNet-50 and AdamW is trained on made images; after every second step both take their
turns: what `cl.callbacks.saver.Saver.save` does before it goes on beside the training (the write
before has been waited for), and a copy of the tensors of weights and optimizer into fresh memory.
The write goes to a temporary folder, beside the next two steps.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import cl
import cl.train
from benchmarks.ratios import Ratio, by_turns
from cl.callbacks.saver import KeptFiles, Saver

ROUNDS = 20
BATCH, EVERY = 8, 2  # samples in a step, and steps between two saves


def tensors(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[Tensor]:
    """Those of the weights and of the optimizer's state."""
    yield from module.state_dict().values()
    for optimizer in trainer.optimizers:
        for state in optimizer.state.values():
            yield from (each for each in state.values() if isinstance(each, Tensor))


class Timed(Saver):
    """Times each save, and a bare copy before it."""

    spent: ClassVar[dict[str, list[float]]]

    def save(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        kept: KeptFiles | None = None,
    ) -> None:
        self.finish()
        begin = time.perf_counter()
        copies = [each.detach().clone() for each in tensors(trainer, pl_module)]
        self.spent["a bare copy"].append(1e3 * (time.perf_counter() - begin))
        del copies
        begin = time.perf_counter()
        super().save(trainer, pl_module, kept)
        self.spent["a save"].append(1e3 * (time.perf_counter() - begin))


def measure() -> dict[str, list[float]]:
    """Milliseconds of each save of a run, and of the copies."""
    Timed.spent = {"a save": [], "a bare copy": []}
    images = torch.randint(0, 256, (BATCH * EVERY * (ROUNDS + 5), 3, 32, 32), dtype=torch.uint8)
    # Of these a tenth validates.
    data = TensorDataset(images, torch.arange(len(images)) % 10)
    cl.train.Saver = Timed
    with tempfile.TemporaryDirectory() as folder:
        cl.pretrain(
            "resnet50",
            data,
            epochs=1,
            batch_size=BATCH,
            optimizer="adamw",
            precision="32",
            checkpoint_every=EVERY,
            checkpoint_unit="steps",
            output=folder,
            wandb="off",
            baseline=False,
            report=False,
        )
    return Timed.spent


def ratios() -> Iterator[Ratio]:
    """The median save beside the median copy; a run's first save and its last one are left out."""
    spent = {who: iter(each[1 : ROUNDS + 1]) for who, each in measure().items()}
    turns = {who: partial(next, each) for who, each in spent.items()}
    case = "SimCLR, ResNet-50, AdamW, 336 MB"
    floors = {"a bare copy": 0.7}
    yield from by_turns("What a save holds up", case, "ms", turns, ROUNDS, floors, warm=0)


if __name__ == "__main__":
    for ratio in ratios():
        print(ratio.line())
