"""The base of loaders: batches in the sampler's order, resumed where a run was interrupted."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from cl import distributed
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.inspection import Inspection
from cl.data.loaders.sampler import Index, Sampler
from cl.data.sets import Images, Samples
from cl.interrupts import interrupts

Floats = npt.NDArray[np.float32]
S = TypeVar("S", bound=Samples)


class Loader(ABC, Generic[S]):
    """Views of training samples, epoch after epoch.

    Its state is the sampler's: it counts the batches that the training loop has received, not those
    prepared ahead, so that a run interrupted inside an epoch goes on with the very next batch.
    """

    def __init__(self, samples: S, sampler: Sampler) -> None:
        self.samples, self.sampler = samples, sampler
        self.inspection: Inspection | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing runs before the first batch is asked for; by then the epoch is set.
        try:
            for batch in self.batches():
                if self.inspection:
                    self.inspection.check()
                self.sampler.given += 1
                yield batch
        except Exception as error:
            if distributed.world_size() == 1 or not interrupts.waits:
                raise
            # The other processes have a batch, and would wait for this one inside of their step.
            interrupts.failed = error
            self.sampler.given += 1
            yield Batch([], torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))

    def take_back(self) -> None:
        """Count the newest batch as not given: nothing was trained on it."""
        self.sampler.given -= 1

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """The remaining batches of the sampler's epoch."""

    def state_dict(self) -> dict[str, int]:
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.load_state_dict(state)

    def batch(self, views: Sequence[npt.NDArray[Any]], index: Index) -> Batch:
        """Arrays as a `Batch`, without a copy."""
        labels = torch.from_numpy(self.samples.labels[index])
        return Batch([torch.from_numpy(x) for x in views], labels, torch.from_numpy(index))


class ImageLoader(Loader[Images]):
    """Augmented views of images."""

    def __init__(self, images: Images, recipes: Sequence[Recipe], sampler: Sampler) -> None:
        super().__init__(images, sampler)
        self.images, self.recipes = images, list(recipes)
        for recipe in recipes:
            check_channels(images, recipe)


def check_channels(images: Images, recipe: Recipe) -> None:
    """Refuse images that have not the channels of a recipe's mean, which no kernel checks."""
    if images.channels != recipe.channels:
        raise ValueError(
            f"--channels {images.channels}: the images have {images.channels} channels, and mean "
            f"and std are of {recipe.channels}; an encoder is used on images as it was trained on"
        )


Part = tuple[Recipe, int, slice]


def by_size(recipes: Sequence[Recipe]) -> list[list[Part]]:
    """For each tensor of a batch, which holds the views of one size, the recipes in it.

    Each comes with the number of its first view among all views of a sample, and with the slice of
    the tensor that its views fill.
    """
    tensors: list[list[Part]] = []
    number = 0
    for size, same in groupby(recipes, lambda recipe: recipe.size):
        parts, at = [], 0
        for recipe in same:
            assert recipe.size == size
            parts.append((recipe, number, slice(at, at + recipe.views)))
            number, at = number + recipe.views, at + recipe.views
        tensors.append(parts)
    return tensors


def shape(parts: Sequence[Part], samples: int) -> tuple[int, ...]:
    """The shape `(v n c size size)` of the views of one size of so many samples."""
    recipe = parts[0][0]
    return parts[-1][2].stop, samples, recipe.channels, recipe.size, recipe.size
