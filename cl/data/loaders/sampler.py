"""The samples of a step: a function of (seed, epoch, step), not of the number of devices."""

import hashlib
from collections.abc import Iterator
from copy import copy
from itertools import count

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


class Sampler:
    """Step k's global batch is the k-th piece of the epoch's permutation; a rank has its slice.

    Args:
        samples: number of samples.
        batch_size: samples of one process in a batch.
        seed: of the permutations.
        rank: number of this process.
        world: number of processes.
        fill: complete the last batch from the permutation's start instead of leaving it out.

    Raises:
        ValueError: there are fewer samples than one batch needs.
    """

    nouns = "images"  # what the samples are, for messages

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        fill: bool = False,
    ) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.rank, self.world, self.fill = rank, world, fill
        self.epoch = 0
        self.given = 0  # batches of this epoch that the training loop has received
        if not len(self):
            raise ValueError(
                f"--batch_size {batch_size} on {world} device(s) is more than the {samples} "
                f"training {self.nouns}; use a smaller one or --last_batch_fill"
            )

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole = self.batch_size * self.world
        return -(-self.samples // whole) if self.fill else self.samples // whole

    def remaining(self) -> Iterator[Index]:
        """The rest of this process's batches of the epoch; a batch counts when it is received."""
        whole, order = self.batch_size * self.world, self.order()
        self.given %= len(self)
        for step in range(self.given, len(self)):
            start = step * whole + self.rank * self.batch_size
            yield order[start : start + self.batch_size]

    def order(self) -> Index:
        """The epoch's samples in their order, as many as all processes' batches hold."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)
        return np.resize(order, len(self) * self.batch_size * self.world)  # again where too short

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]


def checksum(sampler: Sampler, batches: int = 100) -> str:
    """sha256 of the samples in the first batches of a training, of all processes.

    Args:
        sampler: of one of its processes; it stays where it is.
        batches: how many; if an epoch has fewer, further epochs follow.
    """
    digest, twin = hashlib.sha256(), copy(sampler)
    left = batches * sampler.batch_size * sampler.world
    for epoch in count():
        twin.set_epoch(epoch)
        order = twin.order()[:left]
        digest.update(order.tobytes())
        left -= len(order)
        if not left:
            break
    return digest.hexdigest()


def shard(samples: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Index]:
    """Batches of this process's samples; every sample is in exactly one batch of one process."""
    own = np.arange(samples)[samples * rank // world : samples * (rank + 1) // world]
    return [own[i : i + batch_size] for i in range(0, len(own), batch_size)]
