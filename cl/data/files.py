"""The torch backend: a DataLoader; a file is decoded once, then the kernel makes all its views."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cl.data import kernel
from cl.data.batch import Batch
from cl.data.loaders import Loader, Pixels, by_size, empty, numbers
from cl.data.recipe import Recipe
from cl.data.sampler import Sampler
from cl.data.sources import Images

Sample = tuple[list[Pixels], int]
Make = Callable[..., None]  # takes what `kernel.views` takes


class Views(Dataset[Sample]):
    """All views of one sample of one epoch: a function of the two, so any worker may make it."""

    def __init__(
        self, images: Images, recipes: Sequence[Recipe], seed: int, make: Make = kernel.views
    ) -> None:
        self.images, self.recipes, self.seed, self.make = images, recipes, seed, make

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        epoch, index = place
        image = self.images.pixel(index)
        made = []
        for parts in by_size(self.recipes):
            made.append(empty(parts, 1)[:, 0])
            for recipe, first, at in parts:
                to = made[-1][at]
                self.make(image, *numbers(recipe), self.seed, epoch, index, first, to)
        return made, index


class Places:
    """A DataLoader's batch sampler: (epoch, index) pairs, so that workers can outlive an epoch."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for index in self.sampler.remaining():
            yield [(self.sampler.epoch, int(i)) for i in index]


def stack(samples: list[Sample]) -> tuple[list[Tensor], list[int]]:
    """Samples as `(v n 3 h w)`, one a size; tensors leave a worker in shared memory, not copied."""
    views, index = zip(*samples, strict=True)
    made = [torch.from_numpy(np.stack(parts, axis=1)) for parts in zip(*views, strict=True)]
    return made, list(index)


class FileLoader(Loader):
    """Views of images in files (or in memory, for comparison).

    Args:
        images: with `files` or `pixels`.
        recipes: of the views, a size each.
        sampler: which samples a step sees.
        workers: processes that decode and augment; with 0 the training process does.
        make: what makes the views of an image, the kernel or `cl.data.reference`.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        sampler: Sampler,
        workers: int,
        make: Make = kernel.views,
    ) -> None:
        super().__init__(images, recipes, sampler)
        self.loader = DataLoader(
            Views(images, recipes, sampler.seed, make),
            batch_sampler=cast("list[list[int]]", Places(sampler)),
            num_workers=workers,
            collate_fn=stack,
            persistent_workers=workers > 0,
        )

    def batches(self) -> Iterator[Batch]:
        rest = len(self.sampler) - self.sampler.given % len(self.sampler)
        for views, index in islice(self.loader, rest):
            yield self.batch([], np.array(index, np.int64))._replace(views=views)
