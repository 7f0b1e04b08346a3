"""Loaders of texts: pairs for training, every text once for validation."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cl.data.batch import Batch
from cl.data.loaders.base import Loader
from cl.data.loaders.sampler import Index, Sampler, shard
from cl.data.sets import TextPairs
from cl.data.tokens import Tokens

SIDES = 2  # a query and its document; what follows in a batch are hard negatives


class PairLoader(Loader[TextPairs]):
    """Batches of queries and their documents, each with hard negatives.

    The first tensor of views has the queries, `(1 n l)`, the second one the documents and then the
    negatives, `(1+k n l)`; the labels are the documents' numbers. Scores of pairs are in float32.

    Args:
        pairs: of all processes.
        queries: their tokens.
        documents: the corpus's.
        sampler: chooses the samples of each step.
        negatives: k, hard negatives of a pair in a batch: the next k of its own in each epoch.
    """

    def __init__(
        self,
        pairs: TextPairs,
        queries: Tokens,
        documents: Tokens,
        sampler: Sampler,
        negatives: int = 0,
    ) -> None:
        super().__init__(pairs, sampler)
        self.queries, self.documents, self.negatives = queries, documents, negatives

    def batches(self) -> Iterator[Batch]:
        for index in self.sampler.remaining():
            places = [self.samples.positive[index], *self.negatives_of(index)]
            documents = self.documents.padded(np.concatenate(places))
            views = [
                self.queries.padded(index)[None],
                documents.reshape(len(places), len(index), documents.shape[1]),
            ]
            yield self.batch(views, index)._replace(
                global_views=SIDES, scores=self.scores_of(index)
            )

    def scores_of(self, index: Index) -> Tensor | None:
        """The scores of some pairs, where the data have them."""
        scores = self.samples.scores
        return None if scores is None else torch.from_numpy(scores[index]).float()

    def negatives_of(self, index: Index) -> list[Index]:
        """The k-th hard negative of each pair, for all k."""
        return drawn_negatives(self.samples, index, self.sampler.epoch, self.negatives)


def drawn_negatives(pairs: TextPairs, index: Index, epoch: int, number: int) -> list[Index]:
    """The k-th hard negative of some pairs in an epoch, for each k below `number`."""
    own = [pairs.negatives[i] for i in index.tolist()] if number else []
    places = range(epoch * number, (epoch + 1) * number)
    return [np.array([each[k % len(each)] for each in own]) for k in places]


def longest_first(tokens: Tokens, batches: Sequence[Index]) -> list[Index]:
    """The texts of some batches, which are numbered on, by their lengths in as large batches."""
    own = np.concatenate(batches)
    order = own[np.argsort(-tokens.lengths[own], kind="stable")]
    return [order[index - own[:1]] for index in batches]


class TextLoader:
    """Every text once, as one view: each set of texts in its order, one after the other.

    The samples are numbered on from one set to the next, and have no label.

    Args:
        sets: the tokens of each set, such as the queries and the corpus.
        batch_size: texts in a batch, which are of one set; its last batch may be smaller.
        rank: number of this process.
        world: number of processes, among which each set is divided.
        by_length: the longest texts of each process first, so that those of a batch are of about
            one length and little of it is padding.
        places: of a single set, the number of each of its texts as a sample; by default its place.
    """

    def __init__(
        self,
        sets: Sequence[Tokens],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        *,
        by_length: bool = False,
        places: Index | None = None,
    ) -> None:
        self.sets, self.places = sets, places
        # A process without a text has an empty batch: all of them take part in what follows.
        empty = [np.empty(0, np.int64)]
        self.index = [shard(len(each), batch_size, rank, world) or empty for each in sets]
        self.first = min((int(at) for index in self.index[0][:1] for at in index[:1]), default=0)
        if by_length:
            self.index = [longest_first(*both) for both in zip(sets, self.index, strict=True)]

    def __len__(self) -> int:
        return sum(map(len, self.index))

    @property
    def samples(self) -> int:
        """Texts of this process."""
        return sum(len(index) for each in self.index for index in each)

    def __iter__(self) -> Iterator[Batch]:
        first = 0
        for tokens, batches in zip(self.sets, self.index, strict=True):
            for index in batches:
                labels = torch.full((len(index),), -1)
                views = [torch.from_numpy(tokens.padded(index))[None]]
                number = first + index if self.places is None else self.places[index]
                yield Batch(views, labels, torch.from_numpy(number))
            first += len(tokens)
