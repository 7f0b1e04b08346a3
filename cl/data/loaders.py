"""What loaders share: an epoch of batches in the sampler's order, and where in it a run is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from cl.data.batch import Batch
from cl.data.recipe import Recipe
from cl.data.sampler import Index, Sampler
from cl.data.sources import Images

Pixels = npt.NDArray[np.float32]


class Loader(ABC):
    """Augmented views of training images, epoch after epoch.

    Its state is the sampler's: the batches that were taken, not those prepared ahead, so that a run
    interrupted inside an epoch goes on with the very next batch.
    """

    def __init__(self, images: Images, recipes: Sequence[Recipe], sampler: Sampler) -> None:
        self.images, self.recipes, self.sampler = images, list(recipes), sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing runs before the first batch is asked for, when the epoch is known.
        for batch in self.batches():
            self.sampler.given += 1
            yield batch

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """The rest of the sampler's epoch."""

    def state_dict(self) -> dict[str, int]:
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.load_state_dict(state)

    def batch(self, views: list[Pixels], index: Index) -> Batch:
        """Arrays as a `Batch`; they share their memory."""
        labels = torch.from_numpy(self.images.labels[index])
        return Batch([torch.from_numpy(x) for x in views], labels, torch.from_numpy(index))


def numbers(recipe: Recipe) -> tuple[npt.NDArray[np.float64], int, Pixels, Pixels]:
    """A recipe as the kernel takes it."""
    mean, std = (np.array(x, np.float32) for x in (recipe.mean, recipe.std))
    return recipe.numbers(), recipe.blur_kernel, mean, std


def firsts(recipes: Sequence[Recipe]) -> list[int]:
    """The number of each recipe's first view; no two views of a sample share one."""
    return [sum(r.views for r in recipes[:i]) for i in range(len(recipes))]
