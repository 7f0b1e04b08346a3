"""SimCLR on images in memory in three ways: ours under Lightning, a bare loop, and lightly's."""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import formulas
from benchmarks.gpu.part import synchronize
from cl import hardware
from cl.callbacks.finite import FiniteSteps
from cl.callbacks.geometry import Geometry
from cl.callbacks.peers import Peers
from cl.callbacks.saver import Saver, Stop
from cl.callbacks.watch import Watch
from cl.data.augment.recipe import Recipe, preset
from cl.data.module import ContrastiveData
from cl.data.sets import Images, Source
from cl.losses.nt_xent import nt_xent
from cl.methods.simclr import SimCLR
from cl.nets import encoders
from cl.nets.heads import mlp
from cl.optim import Optimization
from cl.trainer import NOISE

HIDDEN, DIM, RATE = 2048, 128, 0.1  # of the projector, and a learning rate at which nothing bursts
WARM = 20  # steps before the clock starts
EVERY = 5  # steps between two looks at the clock


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        name: in the table.
        encoder: of timm.
        size: side of the images and of the views in pixels.
        batch: samples in a step.
        images: how many are in memory.
    """

    name: str
    encoder: str
    size: int
    batch: int
    images: int

    @property
    def recipe(self) -> Recipe:
        return preset("cifar10") if self.size == 32 else Recipe(size=self.size)

    def made(self) -> Images:
        """Random pixels, which cost every operation what real ones do."""
        return Images(np.arange(self.images) % 10, pixels(self.images, self.size))

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return encoders.create(self.encoder, self.size)

    def flops(self) -> float:
        """Of a sample's two views, forward and backward, taken as three times the forward."""
        with torch.device("meta"):
            net = self.network()
            x = torch.empty(1, 3, self.size, self.size)
        with FlopCounterMode(display=False) as counter:
            net(x)
        return 2 * 3 * counter.get_total_flops()


@cache
def pixels(images: int, size: int) -> np.ndarray:
    """Random ones, a tenth of them drawn and repeated."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (-(-images // 10), size, size, 3), np.uint8)
    return np.resize(drawn, (images, size, size, 3))


def quiet() -> None:
    """Without Lightning's advice, as the programs."""
    for name in ("pytorch_lightning", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for noise in NOISE:
        warnings.filterwarnings("ignore", noise)


def made(case: Case, backend: str, workers: int) -> tuple[ContrastiveData, SimCLR]:
    """What ours trains on and with."""
    images = case.made()
    source = Source("made", [str(c) for c in range(10)], images, images)
    data = ContrastiveData(
        source, [case.recipe], batch_size=case.batch, workers=workers, backend=backend
    )
    method = SimCLR(
        case.network(),
        partial(nt_xent, temperature=0.2),
        hidden_mlp=HIDDEN,
        encoding_size=DIM,
        classes=10,
        optimization=Optimization(lr=RATE, scheduler="cosine"),
    )
    return data, method


def ours(
    case: Case,
    folder: Path,
    callbacks: Sequence[Callback],
    rehearse: bool,
    backend: str = "auto",
    workers: int = 4,
) -> None:
    """Train as `main_contrastive.py` does, with all that looks; a callback ends it by `Stop`."""
    data, method = made(case, backend, workers)
    folder.mkdir(parents=True, exist_ok=True)
    options = hardware.trainer_options((), 1, "auto")
    options["accelerator"] = "cpu" if rehearse else "gpu"
    trainer = pl.Trainer(
        max_epochs=1000,
        limit_val_batches=0,
        logger=False,
        callbacks=[  # as in cl/trainer.py
            FiniteSteps(10),
            Peers(10),
            Geometry("warn"),
            Saver(folder),
            *callbacks,
            Watch(50),
        ],
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        **options,
    )
    with suppress(Stop):
        trainer.fit(method, datamodule=data)


class Rate(Callback):
    """Ends a training after so many seconds and holds the images per second of its steps."""

    def __init__(
        self, seconds: float, device: torch.device, warm: int = WARM, every: int = EVERY
    ) -> None:
        self.clock = Clock(seconds, device, warm, every)

    @property
    def images(self) -> float:
        return self.clock.rate

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self.clock.step(len(batch.labels)):
            raise Stop("timed", 0)


class Clock:
    """Images per second behind the first `WARM` steps; the device is waited for now and then."""

    def __init__(
        self, seconds: float, device: torch.device, warm: int = WARM, every: int = EVERY
    ) -> None:
        self.seconds, self.device, self.warm, self.every = seconds, device, warm, every
        self.steps, self.images, self.start, self.rate = 0, 0, 0.0, 0.0

    def step(self, images: int) -> bool:
        """Count a step; whether the time is over."""
        self.steps += 1
        if self.steps == self.warm:
            synchronize(self.device)
            self.start = time.perf_counter()
        if self.steps <= self.warm:
            return False
        self.images += images
        if (self.steps - self.warm) % self.every:
            return False
        synchronize(self.device)
        passed = time.perf_counter() - self.start
        self.rate = self.images / passed
        return passed >= self.seconds


class Bare:
    """The shortest loop that trains the same network at the same precision.

    Args:
        case: whose encoder.
        device: where.
        head: on the encoder's features.
        loss: of `(2 n d)` embeddings.
    """

    def __init__(
        self, case: Case, device: torch.device, head: nn.Module, loss: Callable[[Tensor], Tensor]
    ) -> None:
        layout = torch.channels_last
        encoder = case.network()
        self.net = nn.Sequential(encoder, head).to(device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.SGD(self.net.parameters(), RATE, momentum=0.9, fused=True)
        self.loss, self.device = loss, device

    def autocast(self) -> AbstractContextManager[Any]:
        half = hardware.bf16_in_hardware(self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    def step(self, x: Tensor, views: int = 2) -> None:
        """One step on `(v n)` images, view after view."""
        self.optimizer.zero_grad()
        with self.autocast():
            z = self.net(x.contiguous(memory_format=torch.channels_last))
        self.loss(z.float().unflatten(0, (views, -1))).backward()
        self.optimizer.step()


class Documented(Bare):
    """The loop of lightly's documented example: layout of torch, plain SGD, view after view.

    Its precision is `Bare`'s.
    """

    def __init__(
        self, case: Case, device: torch.device, head: nn.Module, loss: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(case, device, head, loss)
        self.net = self.net.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.06)

    def step(self, x: Tensor, views: int = 2) -> None:
        with self.autocast():
            z = torch.stack([self.net(view) for view in x.chunk(views)])
        self.loss(z.float()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def bare(
    case: Case, seconds: float, device: torch.device, warm: int = WARM, every: int = EVERY
) -> float:
    """Images per second of a bare loop with the plain formula, on views that are there already."""
    head = mlp(encoders.width(case.network()), HIDDEN, DIM)
    loop, clock = Bare(case, device, head, formulas.nt_xent), Clock(seconds, device, warm, every)
    x = torch.randn(2 * case.batch, 3, case.size, case.size, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    loop.step(x)
    while not clock.step(case.batch):
        loop.step(x)
    return clock.rate


def without_trainer(
    case: Case, seconds: float, device: torch.device, workers: int, warm: int, every: int
) -> float:
    """Images per second of what `ours` computes, views, probe and loss, in a bare loop on a CPU."""
    data, method = made(case, "auto", workers)
    data.setup("fit")
    method.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.SGD(method.parameters(), RATE, momentum=0.9, fused=True)
    half = hardware.bf16_in_hardware(device.type == "cuda")
    clock = Clock(seconds, device, warm, every)
    for number, batch in enumerate(forever(data.train_dataloader())):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            found = method.training_step(batch, number)
        found["loss"].backward()
        optimizer.step()
        if clock.step(case.batch):
            break
    return clock.rate


class Pictures(Dataset[list[Tensor]]):
    """Images through a transform that gives two views, as lightly's examples have it."""

    def __init__(self, images: Images, transform: Callable[[Any], list[Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        from PIL import Image

        if self.images.files is None:
            return self.transform(Image.fromarray(self.images.pixel(index)))[:2]
        with Image.open(self.images.files.name(index)) as image:
            return self.transform(image.convert("RGB"))[:2]


def lightlys(
    case: Case,
    seconds: float,
    device: torch.device,
    workers: int,
    warm: int = WARM,
    every: int = EVERY,
    of: type[Bare] = Bare,
) -> float | None:
    """Images per second of lightly's transform, head and loss in a loop; None without it."""
    try:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform
    except ImportError:
        return None
    small = {"gaussian_blur": 0.0} if case.size == 32 else {}
    transform = SimCLRTransform(input_size=case.size, **small)
    loss = NTXentLoss(temperature=0.2)
    head = SimCLRProjectionHead(encoders.width(case.network()), HIDDEN, DIM)
    loop = of(case, device, head, lambda z: loss(z[0], z[1]))
    loader = DataLoader(
        Pictures(case.made(), transform),
        case.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    clock = Clock(seconds, device, warm, every)
    for views in forever(loader):
        loop.step(torch.cat([x.to(device, non_blocking=True) for x in views]))
        if clock.step(case.batch):
            break
    return clock.rate


def forever(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader
