"""The data module of texts: pairs for training, every text once for validation."""

from functools import cached_property

import numpy as np

from cl.data.loaders.lengths import LengthSampler
from cl.data.loaders.sampler import Index, Sampler
from cl.data.loaders.texts import PairLoader, TextLoader, drawn_negatives
from cl.data.sets import Source, TextPairs
from cl.data.source_data import SourceData
from cl.data.tokens import Tokenizer, Tokens, of_sides, tokenize


class TextData(SourceData[TextPairs]):
    """Queries with their documents for training; queries and corpus for validation.

    Args:
        source: the data set.
        tokenizer: the encoder's.
        longest: tokens of a query and of a document that are used, see `TextPairs.used_lengths`.
        batch_size: pairs of one process in a batch.
        seed: of the order of pairs.
        fill_last: see `SourceData`.
        negatives: hard negatives of each pair in a batch.
        contrasted: documents of a batch are compared, so that it must have two.
        distinct: no two pairs of a batch have a text in common, where that is possible.
        of_documents: the tokenizer of documents, where it is another one.

    Raises:
        ValueError: all pairs have one document, so that there are no negatives, or one score.
    """

    unit = "text pairs"
    nouns, told_by = "pairs of texts", "texts, judgments or hard negatives"

    def __init__(
        self,
        source: Source[TextPairs],
        tokenizer: Tokenizer,
        *,
        longest: tuple[int, int],
        batch_size: int,
        seed: int = 0,
        fill_last: bool = False,
        negatives: int = 0,
        contrasted: bool = False,
        distinct: bool = True,
        of_documents: Tokenizer | None = None,
    ) -> None:
        super().__init__(source, batch_size, seed, fill_last)
        self.tokenizer, self.longest, self.negatives = tokenizer, longest, negatives
        self.contrasted, self.distinct = contrasted, distinct
        self.of_documents = of_documents or tokenizer
        self.orders: dict[tuple[int, int], Index] = {}
        positive = source.train.positive
        if not len(positive):
            raise ValueError(
                f"DATASET {source.name}: there are no training pairs, so that it can only be "
                "evaluated on"
            )
        if (positive == positive[0]).all():
            raise ValueError(
                f"DATASET {source.name}: all {len(positive):,} training pairs have the same "
                "document, so that there is nothing to tell apart"
            )
        scores = source.train.scores
        if scores is not None and np.ptp(scores) == 0:
            raise ValueError(
                f"DATASET {source.name}: all {len(scores):,} training pairs have the score "
                f"{scores[0]:g}, so that there is nothing to rank"
            )

    @property
    def val_samples(self) -> int:
        """How many texts validate, queries and documents."""
        return len(self.source.val.queries) + len(self.source.val.documents)

    def tokens(self, pairs: TextPairs) -> tuple[Tokens, Tokens]:
        """The tokens of the queries and those of the documents."""
        query, document = pairs.used_lengths(self.longest)
        queries = tokenize(pairs.queries, self.tokenizer, query, "queries")
        if pairs.documents is self.source.train.documents:  # one corpus for both parts
            return queries, self.train_documents
        return queries, tokenize(pairs.documents, self.of_documents, document, "documents")

    @cached_property
    def train_documents(self) -> Tokens:
        """The tokens of the corpus that is trained on."""
        pairs = self.source.train
        longest = pairs.used_lengths(self.longest)[1]
        return tokenize(pairs.documents, self.of_documents, longest, "documents")

    @cached_property
    def train_tokens(self) -> tuple[Tokens, Tokens]:
        """Those of the training pairs."""
        return self.tokens(self.source.train)

    @cached_property
    def val_tokens(self) -> tuple[Tokens, Tokens]:
        """Those of the validation pairs."""
        return self.tokens(self.source.val)

    @cached_property
    def numbers(self) -> tuple[Index, Index]:
        """Numbers of the training queries and of the corpus; equal texts have equal ones."""
        pairs = self.source.train
        known: dict[str, int] = {}
        queries = [known.setdefault(text, len(known)) for text in pairs.queries]
        documents = np.arange(len(pairs.documents)) + len(known)
        for place in np.unique(np.concatenate([pairs.positive, *pairs.negatives])).tolist():
            documents[place] = known.get(str(pairs.documents[place]), documents[place])
        return np.array(queries), documents

    def texts(self, epoch: int) -> Index:
        """`(n 2+k)`, the numbers of a training pair's query, document and hard negatives."""
        pairs, (queries, documents) = self.source.train, self.numbers
        every = np.arange(len(pairs))
        hard = drawn_negatives(pairs, every, epoch, self.negatives)
        return np.stack([queries, *(documents[at] for at in (pairs.positive, *hard))], axis=1)

    def sampler(self, batch_size: int, rank: int = 0, world: int = 1) -> Sampler:
        """What chooses the training pairs of each step, by the length of both sides."""
        queries, documents = self.train_tokens
        lengths = queries.lengths + documents.lengths[self.source.train.positive]
        apart = self.source.train.positive if self.contrasted and not self.negatives else None
        texts = self.texts if self.distinct else None
        own = rank, world, self.fill_last, apart, texts, self.orders
        return LengthSampler(lengths, batch_size, self.seed, *own)

    def train_dataloader(self) -> PairLoader:
        sampler = self.sampler(self.batch_size, *self.rank_and_world())
        return PairLoader(self.source.train, *self.train_tokens, sampler, self.negatives)

    def val_dataloader(self) -> TextLoader:
        return TextLoader(self.val_tokens, max(self.batch_size, 256), *self.rank_and_world())

    def plain(self, pairs: TextPairs, rank: int = 0, world: int = 1) -> TextLoader:
        """Queries and documents of other pairs, prepared as in validation."""
        return TextLoader(self.tokens(pairs), max(self.batch_size, 256), rank, world)

    @cached_property
    def hard_negatives(self) -> str:
        """How many hard negatives of a pair are used, of how many; empty where no pair has any."""
        counts = [len(each) for each in self.source.train.negatives]
        if not any(counts):
            return ""
        least, most = min(counts), max(counts)
        query = self.source.train.queries[counts.index(least)]
        of = f"{most}" if least == most else f"{least} to {most}"
        return f"{self.negatives} of {of}" + ("" if least else f" ({query[:40]!r} has none)")

    def describe(self) -> str:
        """What makes tokens, and how many are used."""
        query, document = self.source.train.used_lengths(self.longest)
        tokenizers = of_sides(self.tokenizer, self.of_documents)
        return f"{tokenizers}, at most {query} tokens of a query and {document} of a document"
