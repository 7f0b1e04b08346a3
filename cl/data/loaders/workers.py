"""The torch backend: a DataLoader; a file is decoded once, then the kernel makes all its views."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cl.data.augment import cpu
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import Loader, Part, by_size, shape
from cl.data.loaders.sampler import Sampler
from cl.data.sets import Images

Made = tuple[list[Tensor], list[int]]
Make = Callable[..., None]  # takes what `cpu.views` takes


class Views(Dataset[Made]):
    """All views of some samples: a function of epoch and sample, so any worker may make them."""

    def __init__(
        self, images: Images, recipes: Sequence[Recipe], seed: int, make: Make = cpu.views
    ) -> None:
        self.images, self.parts, self.seed, self.make = images, by_size(recipes), seed, make

    def __getitems__(self, places: list[tuple[int, int]]) -> Made:
        """A batch, a tensor `(v n 3 h w)` for each size, and the samples' numbers."""
        made = [room(parts, len(places)) for parts in self.parts]
        for i, (epoch, sample) in enumerate(places):
            image = self.images.pixel(sample)
            for out, parts in zip(made, self.parts, strict=True):
                for recipe, first, at in parts:
                    to = out[at].numpy()
                    self.make(image, recipe.record, self.seed, epoch, sample, first, to, i)
        return made, [sample for _, sample in places]


def room(parts: Sequence[Part], samples: int) -> Tensor:
    """Room for the views of so many samples; a worker's is memory that the trainer sees, too.

    So views are written once, where torch's way is an array a sample, a batch and a copy of it.
    """
    size = shape(parts, samples)
    if get_worker_info() is None:
        return torch.empty(size)
    shared = torch.UntypedStorage._new_shared(4 * math.prod(size))  # as torch's default_collate
    return torch.empty(0).set_(shared).view(size)


def as_it_is(made: Any) -> Any:
    """A batch that is one already."""
    return made


class Places:
    """A DataLoader's batch sampler: (epoch, index) pairs, so that workers can outlive an epoch."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for index in self.sampler.remaining():
            yield [(self.sampler.epoch, int(i)) for i in index]


class FileLoader(Loader):
    """Views of images in files (or in memory, for comparison).

    Args:
        images: with `files` or `pixels`.
        recipes: of the views, a size each.
        sampler: which samples a step sees.
        workers: processes that decode and augment; with 0 the training process does.
        make: what makes the views of an image, the kernel or `cl.data.augment.torchvision`.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        sampler: Sampler,
        workers: int,
        make: Make = cpu.views,
    ) -> None:
        super().__init__(images, recipes, sampler)
        self.loader = DataLoader(
            Views(images, recipes, sampler.seed, make),
            batch_sampler=cast("list[list[int]]", Places(sampler)),
            num_workers=workers,
            collate_fn=as_it_is,
            persistent_workers=workers > 0,
        )

    def batches(self) -> Iterator[Batch]:
        rest = len(self.sampler) - self.sampler.given % len(self.sampler)
        for views, index in islice(self.loader, rest):
            yield self.batch([], np.array(index, np.int64))._replace(views=views)
