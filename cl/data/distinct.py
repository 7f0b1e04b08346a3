"""Texts that are equal are encoded once: each text once, and all places at which it stands.

Besides the time, an encoder computes a text a little differently in different batches, so that
equal texts would have features that differ by rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cl.data.loaders.sampler import Index


@dataclass(frozen=True, eq=False)
class Distinct:
    """Some texts, each once.

    Args:
        texts: m of them, in the order of their first places.
        numbers: `(n)`, for each of the given texts its number among these.
    """

    texts: Sequence[str]
    numbers: Index

    @property
    def repeated(self) -> bool:
        """Whether a text was given twice."""
        return len(self.texts) < len(self.numbers)

    def describe(self, what: str) -> str:
        """What the texts are, for a message that counts each text once.

        >>> distinct(["b", "a", "b"]).describe("queries")
        'different queries'
        """
        return f"different {what}" if self.repeated else what

    @cached_property
    def sorted_places(self) -> tuple[Index, Index]:
        """All places `(n)` in the order of their numbers, and where each number begins, `(m+1)`."""
        times = np.bincount(self.numbers, minlength=len(self.texts))
        order = np.argsort(self.numbers, kind="stable")
        return order, np.concatenate([[0], np.cumsum(times)])

    @property
    def first(self) -> Index:
        """`(m)`, the first place of each text."""
        order, begins = self.sorted_places
        return order[begins[:-1]]

    def places(self, index: Index) -> tuple[Index, Index]:
        """Where some of the texts stand.

        Args:
            index: their numbers.

        Returns:
            All places at which they stand, and for each of these which one of `index` it is.

        >>> each = distinct(["b", "a", "b"])
        >>> [x.tolist() for x in each.places(np.array([1, 0]))]
        [[1, 0, 2], [0, 1, 1]]
        """
        order, begins = self.sorted_places
        times = begins[index + 1] - begins[index]
        which = np.repeat(np.arange(len(index)), times)
        within = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
        return order[begins[index][which] + within], which


def distinct(texts: Sequence[str]) -> Distinct:
    """Each of some texts once.

    >>> distinct(["b", "a", "b"]).texts
    ['b', 'a']
    """
    known: dict[str, int] = {}
    numbers = [known.setdefault(text, len(known)) for text in texts]
    return Distinct([*known], np.array(numbers, np.int64))
