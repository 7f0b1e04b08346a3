"""The torch backend: worker processes decode a file once and render all its views."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cl.data.augment import cpu
from cl.data.augment.normalization import Normalization, unnormalized
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import ImageLoader, Part, by_size, shape
from cl.data.loaders.sampler import Sampler
from cl.data.sets import Images
from cl.data.worker_processes import start_iterator

AHEAD = 2  # batches that each worker prepares ahead, torch's default
Prepared = tuple[list[Tensor], list[int]]
RenderViews = Callable[..., None]  # with the parameters of `cpu.views`


class ViewsDataset(Dataset[Prepared]):
    """All views of some samples: a function of epoch and sample, so any worker may prepare them.

    They are rounded to bytes, a quarter of the memory that workers share and of what a GPU is sent:
    once, where a pipeline of PIL's images rounds behind each of its operations.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        seed: int,
        render_views: RenderViews | None = None,
    ) -> None:
        self.images, self.seed = images, seed
        self.parts = by_size([unnormalized(recipe) for recipe in recipes])
        self.render_views = render_views or cpu.kernels(images.channels).views

    def __getitems__(self, samples: list[tuple[int, int]]) -> Prepared:
        """A batch: a tensor `(v n c h w)` of uint8 for each size, and the samples' numbers.

        Args:
            samples: of each the epoch and the number.
        """
        views = [allocate(parts, len(samples)) for parts in self.parts]
        rendered = [np.empty(shape(parts, 1), np.float32) for parts in self.parts]  # of a sample
        for i, (epoch, sample) in enumerate(samples):
            image = self.images.pixel(sample)
            for out, made, parts in zip(views, rendered, self.parts, strict=True):
                for recipe, first, at in parts:
                    numbers, to = recipe.record, made[at]
                    self.render_views(image, numbers, self.seed, epoch, sample, first, to, 0)
                cpu.round_views(made, out.numpy(), i)
        return views, [sample for _, sample in samples]


def allocate(parts: Sequence[Part], samples: int) -> Tensor:
    """An empty tensor for views; a worker's is in memory that it shares with the training process.

    So each view is written once; torch's default is an array for each sample, a batch of them, and
    a copy of the batch.
    """
    size = shape(parts, samples)
    if get_worker_info() is None:
        return torch.empty(size, dtype=torch.uint8)
    shared = torch.UntypedStorage._new_shared(math.prod(size))  # as torch's default_collate
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(size)


def shared_bytes(recipes: Sequence[Recipe], samples: int, workers: int) -> int:
    """Bytes of the views that all workers hold in shared memory, when each is ahead as it may be.

    So it is whenever the training pauses, as in a validation; one batch more is in its step.

    Args:
        recipes: how the views are drawn.
        samples: in a batch.
        workers: how many there are.
    """
    batch = sum(math.prod(shape(parts, samples)) for parts in by_size(recipes))
    return batch * (AHEAD * workers + 1) if workers else 0


def identity(batch: Any) -> Any:
    """The collate function of batches that are whole already."""
    return batch


class EpochBatches:
    """A DataLoader's batch sampler of (epoch, index) pairs, so that workers outlive an epoch."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for index in self.sampler.remaining():
            yield [(self.sampler.epoch, int(i)) for i in index]


class FileLoader(ImageLoader):
    """Views of images in files (or in memory, for comparison).

    Args:
        images: with their `files` or `pixels`.
        recipes: how the views are drawn.
        sampler: chooses the samples of each step.
        workers: processes that decode and augment; with 0 the training process does.
        render_views: draws and renders the views of an image, as `torchvision.views`; by default
            the kernel for its channels.
        device: of the views; a GPU copies them, as bytes of pinned memory, beside its work.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        sampler: Sampler,
        workers: int,
        render_views: RenderViews | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(images, recipes, sampler)
        self.device = device or torch.device("cpu")
        self.normalizations = [
            Normalization([recipe for recipe, *_ in parts], self.device)
            for parts in by_size(self.recipes)
        ]
        self.loader = DataLoader(
            ViewsDataset(images, recipes, sampler.seed, render_views),
            batch_sampler=cast("list[list[int]]", EpochBatches(sampler)),
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            collate_fn=identity,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # a seed for the workers is not drawn from dropout's
        )

    def batches(self) -> Iterator[Batch]:
        rest = len(self.sampler) - self.sampler.given % len(self.sampler)
        for given, index in islice(received(start_iterator(self.loader)), rest):
            views = [x.to(self.device, non_blocking=True) for x in given]
            done = [to(x) for to, x in zip(self.normalizations, views, strict=True)]
            yield self.batch([], np.array(index, np.int64))._replace(views=done)


def received(batches: Iterator[Any]) -> Iterator[Any]:
    """What worker processes send.

    Raises:
        RuntimeError: one ended in the midst of sending, which torch lets the pipe say in its words.
    """
    while True:
        try:
            found = next(batches)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:
            if "Original Traceback" in str(error):  # what a worker itself was told elsewhere
                raise
            raise RuntimeError(f"a worker process exited unexpectedly ({error})") from error
        yield found
