"""Texts in pairs, and images with captions: the kinds of samples beside images alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cl.data.sets._images import Images, Index


@dataclass(frozen=True, eq=False)
class TextPairs:
    """Pairs of texts: a query, and the document of a corpus that it belongs to.

    Args:
        queries: a text for each of n pairs.
        documents: the corpus, each text once.
        positive: `(n)`, the place of each pair's document in the corpus.
        negatives: for each pair the places of its hard negatives; empty where no pair has any.
        grades: `(j 3)`, judgments of a query, a document and its grade, 0 if it is not relevant,
            by which a search is measured; None: each query's own document has grade 1.
        itself: `(n)`, the place in the corpus of a query that is a document too, which a search for
            it leaves out; -1 where it is none. None: no query is one.
        scores: `(n)`, how alike people find the texts of each pair, where the data say so.
        symmetric: both texts of a pair are of one kind, and neither is a query.
    """

    kind: ClassVar = "text"

    queries: Sequence[str]
    documents: Sequence[str]
    positive: Index
    negatives: Sequence[Index] = ()
    grades: Index | None = None
    scores: npt.NDArray[np.float64] | None = None
    itself: Index | None = None
    symmetric: bool = False

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def labels(self) -> Index:
        """`(n)`, the number of each pair's document: pairs of equal labels have one document."""
        return self.positive

    @property
    def judgments(self) -> Index:
        """`(j 3)`, the relevance judgments: query, document and grade."""
        if self.grades is not None:
            return self.grades
        return np.stack([np.arange(len(self)), self.positive, np.ones(len(self), np.int64)], axis=1)

    def used_lengths(self, longest: tuple[int, int]) -> tuple[int, int]:
        """Tokens of each side that are used: of two of one kind the larger number of both.

        Args:
            longest: tokens of a query and of a document.
        """
        return (max(longest), max(longest)) if self.symmetric else longest

    def subset(self, index: Index) -> "TextPairs":
        """The pairs of these places, in that order, with the whole corpus."""
        place = np.full(len(self), -1)
        place[index] = np.arange(len(index))
        grades = self.grades
        if grades is not None:
            grades = np.column_stack([place[grades[:, 0]], grades[:, 1:]])
            grades = grades[grades[:, 0] >= 0]
        return replace(
            self,
            queries=[self.queries[i] for i in index.tolist()],
            positive=self.positive[index],
            negatives=[self.negatives[i] for i in index.tolist()] if len(self.negatives) else (),
            grades=grades,
            scores=None if self.scores is None else self.scores[index],
            itself=None if self.itself is None else self.itself[index],
        )

    def content(self) -> Iterator[Any]:
        """All of it as bytes, for a sum."""
        yield from map(serialized, (self.queries, self.documents))
        yield np.ascontiguousarray(self.positive).data
        for each in self.negatives:
            yield np.append(each, -1).astype(np.int64).data
        yield np.ascontiguousarray(self.judgments).data
        if self.scores is not None:
            yield np.ascontiguousarray(self.scores).data
        if self.itself is not None:
            yield np.ascontiguousarray(self.itself).data


@dataclass(frozen=True, eq=False)
class Captioned:
    """Images with captions.

    Args:
        images: n of them; their labels are not used.
        captions: at least one text for each image.
    """

    kind: ClassVar = "image-text"

    images: Images
    captions: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Index:
        """`(n)`, the number of each image, which is the document of its captions."""
        return np.arange(len(self))

    @cached_property
    def texts(self) -> list[str]:
        """All captions, those of an image behind each other."""
        return [text for each in self.captions for text in each]

    @cached_property
    def image_of(self) -> Index:
        """The image of each of the `texts`."""
        return np.repeat(np.arange(len(self)), [len(each) for each in self.captions])

    @property
    def judgments(self) -> Index:
        """`(j 3)`: a caption as a query, its image as the document, and grade 1."""
        number = len(self.texts)
        return np.stack([np.arange(number), self.image_of, np.ones(number, np.int64)], axis=1)

    def subset(self, index: Index) -> "Captioned":
        """The images of these places, in that order, with their captions."""
        return Captioned(self.images.subset(index), [self.captions[int(i)] for i in index])


Samples = Images | TextPairs | Captioned


def serialized(texts: Sequence[str]) -> bytes:
    """Texts as bytes, each behind its length, so that no two lists have the same."""
    return b"".join(len(raw := text.encode()).to_bytes(8, "little") + raw for text in texts)


def pairs_of(
    pairs: Sequence[tuple[str, str]], negatives: Sequence[Sequence[str]] = ()
) -> TextPairs:
    """Pairs of a query and its document; equal documents become one.

    Args:
        pairs: all of them.
        negatives: the hard negatives of each pair; they are of the corpus too.
    """
    every = [*(document for _, document in pairs), *(text for each in negatives for text in each)]
    place = {document: at for at, document in enumerate(dict.fromkeys(every))}
    positive = np.array([place[document] for _, document in pairs], np.int64)
    hard = [np.array([place[text] for text in each], np.int64) for each in negatives]
    return TextPairs([query for query, _ in pairs], [*place], positive, hard)
