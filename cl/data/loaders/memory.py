"""The memory backend: pixels in memory or mapped, the kernel on threads, one batch ahead."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from cl.data.augment import cpu
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import Floats, ImageLoader, by_size, shape
from cl.data.loaders.sampler import Index, Sampler
from cl.data.sets import Images

Work = tuple[Index, list[Floats], list[Future[None]]]


class MemoryLoader(ImageLoader):
    """Views of images whose pixels are in memory, or mapped from a file.

    Args:
        images: with their `pixels`.
        recipes: how the views are drawn.
        sampler: chooses the samples of each step.
        workers: number of threads; at least one is used.
    """

    def __init__(
        self, images: Images, recipes: Sequence[Recipe], sampler: Sampler, workers: int
    ) -> None:
        super().__init__(images, recipes, sampler)
        self.workers = max(1, workers)
        self.pool = ThreadPoolExecutor(self.workers)  # one for all epochs, see `Background`

    def batches(self) -> Iterator[Batch]:
        ahead: Work | None = None
        for index in self.sampler.remaining():
            ready, ahead = ahead, self.begin(index)
            if ready:
                yield self.finish(ready)
        if ahead:
            yield self.finish(ahead)

    def begin(self, index: Index) -> Work:
        """Hand a batch to the threads, a piece to each."""
        assert self.images.pixels is not None
        views, futures = [], []
        many = cpu.kernels(self.images.channels).many
        cuts = np.linspace(0, len(index), self.workers + 1).astype(int).tolist()
        for parts in by_size(self.recipes):
            out = np.empty(shape(parts, len(index)), np.float32)
            views.append(out)
            for recipe, first, at in parts:
                rest = (recipe.record, self.sampler.seed, self.sampler.epoch, first, out[at])
                for start, stop in pairwise(cuts):
                    part = (index[start:stop], *rest, start)
                    if self.images.rows is None:
                        futures.append(self.pool.submit(many, self.images.pixels, *part))
                    else:
                        futures.append(self.pool.submit(views_of_mapped, self.images, *part))
        return index, views, futures

    def finish(self, work: Work) -> Batch:
        """Wait for a batch; an error in a thread is raised here."""
        index, views, futures = work
        for future in futures:
            future.result()
        return self.batch(views, index)


def views_of_mapped(
    images: Images,
    index: Index,
    recipe: Any,
    seed: int,
    epoch: int,
    first: int,
    out: Floats,
    at: int,
) -> None:
    """The kernel's `many` of images that are mapped from a file, read one by one.

    Args:
        images: with their `rows`.
        index: which of them, `(n)`.
        recipe: `Recipe.record`.
        seed: of the views.
        epoch: of the run.
        first: number of the recipe's first view.
        out: `(v n 3 size size)`, filled from `at` on.
        at: place of the first image in it.
    """
    views = cpu.kernels(images.channels).views
    for place, sample in enumerate(index.tolist(), at):
        views(images.pixel(sample), recipe, seed, epoch, sample, first, out, place)
