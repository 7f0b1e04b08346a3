"""The samples of a step where samples have lengths: a batch is of samples of like length."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from cl.data.loaders.sampler import Index, Sampler
from cl.data.loaders.texts import SIDES

WINDOW = 64  # global batches that are sorted at a time
TRIES = 8  # to place a sample, on average over an epoch so far
PAIR = 2**32  # what a query or a positive counts, more than all hard negatives of a batch
Texts = Callable[[int], Index]  # of an epoch, see `Swaps`


class LengthSampler(Sampler):
    """Global batches of samples of near-equal length, so that little of a batch is padding.

    The epoch's permutation is cut into windows of `WINDOW` global batches; within a window samples
    are sorted by length and cut into batches, samples with texts of other samples are swapped, see
    `Swaps`, and all batches are shuffled. A process has every W-th sample of a batch, so that all
    have the same amount of work.

    Args:
        lengths: `(n)`, of all samples.
        batch_size: see `Sampler`.
        seed: see `Sampler`.
        rank: see `Sampler`.
        world: see `Sampler`.
        fill: see `Sampler`.
        documents: `(n)`, the number of each sample's document, if a batch must have two.
        texts: by whose numbers samples are swapped; None: none are.
        made: orders by epoch and global batch, for samplers that differ in nothing else; one that
            was made is there until an epoch takes it.
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
        texts: Texts | None = None,
        made: dict[tuple[int, int], Index] | None = None,
    ) -> None:
        super().__init__(len(lengths), batch_size, seed, rank, world, fill)
        self.made = {} if made is None else made
        self.lengths, self.documents, self.texts = lengths, documents, texts

    def order(self) -> Index:
        """The epoch's samples in their order, as many as all processes' batches hold.

        Raises:
            ValueError: the samples of a batch have one document, so that nothing is told apart.
        """
        key = self.epoch, self.batch_size * self.world
        if key not in self.made:
            self.made[key] = self.new_order()
        return self.made[key]

    def new_order(self) -> Index:
        """That order, made anew."""
        whole, order = self.batch_size * self.world, super().order()
        for start in range(0, len(order), WINDOW * whole):
            window = order[start : start + WINDOW * whole]
            window[:] = window[np.argsort(self.lengths[window], kind="stable")]
        order = order.reshape(len(self), whole)
        left = 0 if self.texts is None else Swaps(order, self.texts(self.epoch)).make()
        order = order[np.random.default_rng((self.seed, self.epoch, 1)).permutation(len(self))]
        if self.documents is not None:
            documents = self.documents[order]
            same = np.flatnonzero((documents == documents[:, :1]).all(axis=1))
            if len(same):
                raise ValueError(
                    f"--batch_size {self.batch_size}: all {whole:,} pairs of step {same[0] + 1} of "
                    f"epoch {self.epoch + 1} have one document, so that there is nothing to tell "
                    "apart; use a larger one, or other data"
                )
        if left:
            warnings.warn(
                f"in {left:,} of {len(self):,} batches a pair has a text of another one, since "
                "many pairs share texts; a smaller --batch_size has fewer",
                stacklevel=2,
            )
        return order.ravel()

    def remaining(self) -> Iterator[Index]:
        """The rest of this process's batches of the epoch; a batch counts when it is received."""
        whole, order = self.batch_size * self.world, self.order()
        del self.made[self.epoch, whole]
        self.given %= len(self)
        for step in range(self.given, len(self)):
            yield order[step * whole + self.rank : (step + 1) * whole : self.world]


class Swaps:
    """Swaps of samples between near batches, in place, by which no text is another's negative.

    A query or a positive of a sample is then in no other one of its batch. Hard negatives may be
    in several. Nothing is swapped where that is so already. Where many samples share texts, of a
    batch whose samples find no room in `TRIES` places each the rest stay where they are.

    Args:
        batches: `(b m)`, the samples of each.
        texts: `(n 2+k)`, the numbers of each sample's query, positive and hard negatives.
    """

    def __init__(self, batches: Index, texts: Index) -> None:
        self.batches, self.texts = batches, texts.copy()
        for k in range(1, texts.shape[1]):  # once in a sample, under a number that no other has
            again = (texts[:, :k] == texts[:, k : k + 1]).any(axis=1)
            self.texts[again, k] = -1 - k * len(texts) - np.flatnonzero(again)
        self.held: dict[int, Counter[int]] = {}
        self.tries = 0  # that are left

    def make(self) -> int:
        """Make them, and count the batches in which a sample has another's text still."""
        left, numbers = 0, self.texts[self.batches].reshape(len(self.batches), -1)
        numbers.sort(axis=1)
        for b in np.flatnonzero((numbers[:, 1:] == numbers[:, :-1]).any(axis=1)).tolist():
            near = self.near(b)
            self.tries = max(self.tries, 0) + len(near) + TRIES * len(self.batches[b])
            for i in range(len(self.batches[b])):
                if any(self.texts_of(b)[text] > PAIR for text in self.of(b, i)):
                    self.swap(b, i, near)
                    if self.tries <= 0:
                        break
            left += max(self.texts_of(b).values()) > PAIR
        return left

    def near(self, b: int) -> list[int]:
        """The batches that a batch may swap with: those of its window first, the nearest first."""
        near = range(max(0, b - WINDOW), min(len(self.batches), b + WINDOW + 1))
        return sorted(near, key=lambda c: (c // WINDOW != b // WINDOW, abs(c - b)))

    def of(self, b: int, i: int) -> dict[int, int]:
        """The texts of a batch's i-th sample: `PAIR` for its query and positive, else 1."""
        texts = self.texts[self.batches[b, i]].tolist()
        return dict.fromkeys(texts, 1) | dict.fromkeys(texts[:SIDES], PAIR)

    def texts_of(self, b: int) -> Counter[int]:
        """The sum of a batch's samples."""
        if b not in self.held:
            texts = self.texts[self.batches[b]]
            self.held[b] = Counter(texts[:, SIDES:].ravel().tolist())
            for text in texts[:, :SIDES].ravel().tolist():
                self.held[b][text] += PAIR
        return self.held[b]

    def swap(self, b: int, i: int, near: list[int]) -> None:
        """Swap a batch's i-th sample with one of like length for which there is room."""
        mine, own = self.of(b, i), self.texts_of(b)
        for c in near:
            self.tries -= 1
            others, places = self.texts_of(c), range(len(self.batches[c]))
            if any(others[text] + number > PAIR for text, number in mine.items()):
                continue
            for j in places if c > b else reversed(places):
                self.tries -= 1
                if self.tries < 0:
                    return
                theirs = self.of(c, j)
                if all(own[t] - mine.get(t, 0) + number <= PAIR for t, number in theirs.items()):
                    self.batches[[b, c], [i, j]] = self.batches[[c, b], [j, i]]
                    own.subtract(mine)
                    own.update(theirs)
                    others.subtract(theirs)
                    others.update(mine)
                    return
