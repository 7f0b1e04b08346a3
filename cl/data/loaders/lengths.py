"""The samples of a step where samples have lengths: a batch is of samples of like length."""

from collections.abc import Iterator

import numpy as np

from cl.data.loaders.sampler import Index, Sampler

WINDOW = 64  # global batches that are sorted at a time


class LengthSampler(Sampler):
    """Global batches of samples of near-equal length, so that little of a batch is padding.

    The epoch's permutation is cut into windows of `WINDOW` global batches; within a window samples
    are sorted by length and cut into batches, and all batches are shuffled. A process has every
    W-th sample of a batch, so that all have the same amount of work.

    Args:
        lengths: `(n)`, of all samples.
        batch_size: see `Sampler`.
        seed: see `Sampler`.
        rank: see `Sampler`.
        world: see `Sampler`.
        fill: see `Sampler`.
        documents: `(n)`, the number of each sample's document, if a batch must have two.
    """

    nouns = "pairs of texts"

    def __init__(
        self,
        lengths: Index,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        fill: bool = False,
        documents: Index | None = None,
    ) -> None:
        super().__init__(len(lengths), batch_size, seed, rank, world, fill)
        self.lengths, self.documents = lengths, documents

    def order(self) -> Index:
        """The epoch's samples in their order, as many as all processes' batches hold.

        Raises:
            ValueError: the samples of a batch have one document, so that nothing is told apart.
        """
        whole, order = self.batch_size * self.world, super().order()
        for start in range(0, len(order), WINDOW * whole):
            window = order[start : start + WINDOW * whole]
            window[:] = window[np.argsort(self.lengths[window], kind="stable")]
        batches = np.random.default_rng((self.seed, self.epoch, 1)).permutation(len(self))
        order = order.reshape(len(self), whole)[batches]
        if self.documents is not None:
            documents = self.documents[order]
            same = np.flatnonzero((documents == documents[:, :1]).all(axis=1))
            if len(same):
                raise ValueError(
                    f"--batch_size {self.batch_size}: all {whole:,} pairs of step {same[0] + 1} of "
                    f"epoch {self.epoch + 1} have one document, so that there is nothing to tell "
                    "apart; use a larger one, or other data"
                )
        return order.ravel()

    def remaining(self) -> Iterator[Index]:
        """The rest of this process's batches of the epoch; a batch counts when it is received."""
        whole, order = self.batch_size * self.world, self.order()
        self.given %= len(self)
        for step in range(self.given, len(self)):
            yield order[step * whole + self.rank : (step + 1) * whole : self.world]
