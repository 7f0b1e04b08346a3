"""The data modules: a backend is chosen, and samples are divided among the processes."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

from cl.data.augment import cpu
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.inspection import Inspection
from cl.data.loaders.base import Floats, Loader, check_channels
from cl.data.loaders.device import DeviceLoader
from cl.data.loaders.given import GivenViews, number_of_classes
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Index, shard
from cl.data.loaders.workers import FileLoader, shared_bytes
from cl.data.sets import Images, Source
from cl.data.sets._decode import Pixels
from cl.data.source_data import SourceData

Backend = Literal["auto", "memory", "torch", "torchvision", "dali"]
UNCROPPED = 64  # px: images up to this size are evaluated whole, larger ones by their center


def central_fraction(recipe: Recipe) -> float:
    """The part of a plain image's shorter side that is used: 7/8 above 64 px, as 224 of 256."""
    if recipe.central is not None:
        return recipe.central
    return 1.0 if recipe.size <= UNCROPPED else 0.875


def prepare(image: Pixels, recipe: Recipe, out: Floats) -> None:
    """Prepare a plain image: its central square, resized and normalized.

    Args:
        image: `(h w c)`.
        recipe: its size, mean, std, central part and interpolation are used.
        out: `(c size size)`, where the result is written.
    """
    central, size = central_fraction(recipe), recipe.size
    if recipe.interpolation == "bilinear":
        cpu.kernels(recipe.channels).plain(image, central, recipe.record, out)
        return
    height, width = image.shape[:2]
    side = max(round(min(height, width) * central), min(height, width, size))
    left, top = (width - side) // 2, (height - side) // 2
    box, bicubic = (left, top, left + side, top + side), Image.Resampling.BICUBIC
    for band, resized, mean, std in zip(
        image.transpose(2, 0, 1), out, recipe.mean, recipe.std, strict=True
    ):
        pixels = Image.fromarray(band).resize((size, size), bicubic, box)
        resized[:] = (np.asarray(pixels, np.float32) / 255 - np.float32(mean)) / np.float32(std)


class PlainLoader:
    """Every image once, without augmentation, as one view, in the data set's order.

    Args:
        images: the images of all processes.
        recipe: see `prepare`.
        batch_size: samples in a batch; the last batch may be smaller.
        workers: number of threads; at least one is used.
        rank: number of this process.
        world: number of processes, among which the images are divided.
    """

    def __init__(
        self,
        images: Images,
        recipe: Recipe,
        batch_size: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_channels(images, recipe)
        self.images, self.recipe = images, recipe
        self.pool = ThreadPoolExecutor(max(1, workers))  # for all epochs
        # A process without an image has an empty batch: all of them take part in what follows.
        self.index = shard(len(images), batch_size, rank, world) or [np.empty(0, np.int64)]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def samples(self) -> int:
        """Images of this process."""
        return sum(map(len, self.index))

    @property
    def first(self) -> int:
        """The number of the first one."""
        return min((int(at) for index in self.index[:1] for at in index[:1]), default=0)

    def __iter__(self) -> Iterator[Batch]:
        size, channels = self.recipe.size, self.recipe.channels

        def prepare_at(at: int, out: Floats) -> None:
            prepare(self.images.pixel(at), self.recipe, out)

        def begin(index: Index) -> tuple[Floats, Iterator[None]]:
            out = np.empty((len(index), channels, size, size), np.float32)
            return out, self.pool.map(prepare_at, index.tolist(), out)

        ahead = [begin(index) for index in self.index[:1]]
        for i, index in enumerate(self.index):
            ahead += [begin(later) for later in self.index[i + 1 : i + 2]]
            out, done = ahead.pop(0)
            for _ in done:  # an error in a thread is raised here
                pass
            labels = torch.from_numpy(self.images.labels[index])
            yield Batch([torch.from_numpy(out)[None]], labels, torch.from_numpy(index))


def choose(backend: Backend, images: Images) -> tuple[Backend, str]:
    """The backend that is used, and the reason.

    Raises:
        ValueError: the memory backend is asked for, but the images are in files.
    """
    in_memory = images.pixels is not None
    if backend == "auto":
        if in_memory:
            how = "in memory" if images.rows is None else "mapped from a file"
            return "memory", f"the pixels are {how}"
        return "torch", "images are in files"
    if backend == "memory" and not in_memory:
        raise ValueError(
            "--backend memory cannot be used: the images of this data set are in files. Use "
            "--backend torch or dali"
        )
    return backend, "as asked for"


class ContrastiveData(SourceData[Images]):
    """Views for training, plain images for validation.

    Args:
        source: the data set; its images may be without labels.
        recipes: how the views are drawn; the mean and std of the first are also validation's.
        batch_size: samples of one process in a batch.
        seed: of the order of samples and of the views.
        workers: threads or worker processes of one process.
        backend: see `choose`.
        fill_last: complete the last batch of an epoch with samples from its start, instead of
            leaving it out.
        size: side of the plain images in pixels; by default that of the first recipe.
        inspection: finds damaged images before they are asked for; without it they end the run when
            they are.
    """

    def __init__(
        self,
        source: Source,
        recipes: Sequence[Recipe],
        *,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        backend: Backend = "auto",
        fill_last: bool = False,
        size: int | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        super().__init__(source, batch_size, seed, fill_last)
        self.labeled = source  # by which a run is watched; of images without labels other ones
        self.inspection = inspection
        self.size = size or recipes[0].size
        self.recipes, self.workers = list(recipes), workers
        self.backend, self.why = choose(backend, source.train)

    @staticmethod
    def from_loaders(train: Iterable[Any], val: Iterable[Any] | None = None) -> "GivenData":
        """The data module of loaders that make the views themselves; see `GivenData`."""
        return GivenData(train, val)

    @property
    def val_samples(self) -> int:
        """How many images validate."""
        return len(self.source.val)

    def prepare_data(self) -> None:
        """Lightning calls it before all else, on the first process of a machine."""
        if self.inspection:
            self.inspection.start()

    def teardown(self, stage: str) -> None:
        if self.inspection:
            self.inspection.stop()

    def train_dataloader(self) -> Loader:
        loader = self.make_loader()
        loader.inspection = self.inspection
        return loader

    def make_loader(self) -> Loader:
        """The loader of the backend that is used."""
        rank, world = self.rank_and_world()
        images = self.source.train
        sampler = self.sampler(self.batch_size, rank, world)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self.backend == "memory":
            if device.type != "cpu" and images.channels == 3:  # its operations are RGB's
                return DeviceLoader(images, self.recipes, sampler, device)
            return MemoryLoader(images, self.recipes, sampler, self.workers)
        if self.by_processes:
            views = None
            if self.backend == "torchvision":
                from cl.data.augment import torchvision  # a second that other backends do not need

                views = torchvision.views
            return FileLoader(images, self.recipes, sampler, self.workers, views, device)
        from cl.data.loaders.dali import (
            DaliLoader,  # half a gigabyte that other backends do not need
        )

        return DaliLoader(images, self.recipes, sampler, self.workers)

    def val_dataloader(self) -> PlainLoader:
        return self.plain(self.source.val, *self.rank_and_world())

    def plain(self, images: Images, rank: int = 0, world: int = 1) -> PlainLoader:
        """Images of this data set, prepared as in validation."""
        batch_size = max(self.batch_size, 256)
        recipe = self.recipes[0].changed({"size": self.size})
        return PlainLoader(images, recipe, batch_size, self.workers, rank, world)

    @property
    def by_processes(self) -> bool:
        """Whether worker processes make the views."""
        return self.backend in ("torch", "torchvision")

    @property
    def shared_memory(self) -> int:
        """Bytes of views that the workers of one process hold in shared memory, at most."""
        return shared_bytes(self.recipes, self.batch_size, self.workers) if self.by_processes else 0

    def describe(self) -> str:
        """The backend, why it was chosen, and its workers."""
        kind = "processes" if self.by_processes else "threads"
        return f"{self.backend} ({self.why}), {self.workers} {kind}"


class GivenData(pl.LightningDataModule):
    """Views of DataLoaders of the user's; `GivenViews` says what their batches may be.

    What a run otherwise sees to is the loaders' here: batch size, seed, order and the processes'
    shares: with several processes the training loader's sampler, or that of its batch sampler,
    must have `num_replicas` and `rank`, as a `DistributedSampler` has; its epoch is set. For
    validation all may have all samples: its numbers are means. A run that is interrupted goes on
    at the start of an epoch, or where a training loader says that has a length, `state_dict` and
    `load_state_dict`.

    Args:
        train: batches of views for training; of unknown length, it needs a Trainer with max_steps.
        val: batches of `(images, labels)` or of views, of which the first is looked at; without it
            there is no validation.
    """

    def __init__(self, train: Iterable[Any], val: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.train, self.val = train, val
        if val is not None:  # a class with this method would validate, on nothing, without it
            self.val_dataloader = lambda: GivenViews(val, least=1)

    @property
    def val_samples(self) -> int:
        """How many samples validate; 0 if the loader does not say."""
        dataset = getattr(self.val, "dataset", ())
        return len(dataset) if hasattr(dataset, "__len__") else 0

    @property
    def classes(self) -> int:
        """How many classes the data sets of the loaders say that there are; 0: nothing says it."""
        known = [number_of_classes(getattr(x, "dataset", None)) for x in (self.train, self.val)]
        return max(known) if known[0] else 0

    def train_dataloader(self) -> GivenViews:
        """The views of the training loader.

        Raises:
            ValueError: there are several processes, of which its sampler does not know.
        """
        world, views = self.trainer.world_size if self.trainer else 1, GivenViews(self.train)
        if world > 1 and not views.shares:
            raise ValueError(
                f"the training DataLoader gives all samples to each of {world} processes; give it "
                "a sampler that shares them, torch.utils.data.DistributedSampler(dataset), or one "
                "of your own that has the attributes num_replicas and rank"
            )
        return views

    def describe(self) -> str:
        """What makes the views."""
        return f"a {type(self.train).__name__} that makes the views"
