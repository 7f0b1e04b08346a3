"""Labels as they stand in files: words or whole numbers, which name the classes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cl.data.sets._paths import Index

LABELS = ("label", "labels", "class", "category", "target")  # what a column of them may be called
NUMBER = re.compile(r"(-?\d+)(\.0*)?")  # 1.0 is what pandas makes of 1 in a column with gaps
MISSING = ("nan", "na", "n/a", "null")  # what stands for no number in tables
NAMED = 3  # of many classes, in a message


class Column(NamedTuple):
    """A column whose words come again and again.

    Args:
        words: each of them once.
        rows: the place of each row's word among them, `(n)`.
    """

    words: list[str]
    rows: Index

    @classmethod
    def of(cls, values: Iterable[str]) -> "Column":
        places = dict[str, int]()
        rows = np.fromiter((places.setdefault(v, len(places)) for v in values), np.int64)
        return cls([*places], rows)

    def become(self, other: Mapping[str, Any]) -> npt.NDArray[Any]:
        """Of each row what stands for its word, `(n)`."""
        return np.array([other[word] for word in self.words])[self.rows]


def number_in(word: str) -> int | None:
    """The whole number that a word is, None if it is none.

    >>> number_in("02"), number_in("-1.0"), number_in("1.5")
    (2, -1, None)
    """
    found = NUMBER.fullmatch(word)
    return int(found[1]) if found else None


def class_numbers(words: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """The classes that labels name in their order, that of numbers by size; and each label's.

    >>> class_numbers(["b", "a", ""])
    (['a', 'b'], {'b': 1, 'a': 0, '': -1})
    >>> class_numbers(["10", "02", "-1.0", "2.0"])
    (['2', '10'], {'10': 1, '02': 0, '-1.0': -1, '2.0': 0})
    >>> class_numbers(["1.0", "NaN"])  # beside numbers it is none; beside words it is a word
    (['1'], {'1.0': 0, 'NaN': -1})
    """
    labels = [*dict.fromkeys(words)]
    names: dict[str, Any] = {label: label or None for label in labels}
    found = {label: number_in(label) for label in labels}
    others = {label.lower() for label, number in found.items() if number is None and label}
    if others <= {*MISSING} and len(others) < len(labels) - labels.count(""):
        numbers = {label: -1 if number is None else number for label, number in found.items()}
        names = {label: number if number >= 0 else None for label, number in numbers.items()}
    classes = sorted({*names.values()} - {None})
    place = {c: number for number, c in enumerate(classes)} | {None: -1}
    return [str(c) for c in classes], {label: place[name] for label, name in names.items()}


def columns_named(given: str | None) -> list[str]:
    """The columns that `--label_column` names, with commas between several."""
    return [name.strip() for name in given.split(",")] if given else []


def multilabels_of(
    parts: Sequence[Column], separator: str
) -> tuple[list[str], list[npt.NDArray[np.uint8]]]:
    """The classes of sets of labels, and each part's `(n c)`, 1 for a class that a row names.

    >>> classes, (found,) = multilabels_of([Column.of(["cat|dog", "", "cat"])], "|")
    >>> classes, found.tolist()
    (['cat', 'dog'], [[1, 1], [0, 0], [1, 0]])
    """
    sets = [[[each.strip() for each in w.split(separator)] for w in p.words] for p in parts]
    classes, numbers = class_numbers(label for part in sets for each in part for label in each)
    found = [multi_hot([[numbers[w] for w in each] for each in s], len(classes)) for s in sets]
    return classes, [each[part.rows] for each, part in zip(found, parts, strict=True)]


def multi_hot(sets: Sequence[Iterable[int]], classes: int) -> npt.NDArray[np.uint8]:
    """Sets of class numbers as rows `(n c)` of zeros and ones; numbers below 0 are left out."""
    rows = np.zeros((len(sets), classes), np.uint8)
    for row, each in zip(rows, sets, strict=True):
        row[[number for number in each if number >= 0]] = 1
    return rows


def check_trained(name: str, classes: Sequence[str], train: Index, val: Index) -> None:
    """Check that every class that validates trains too.

    Args:
        name: of the data set.
        classes: their names.
        train: labels of that part, below 0 without one.
        val: likewise.

    Raises:
        ValueError: one does not.
    """
    unknown = np.setdiff1d(val[val >= 0], train)
    if len(unknown):
        some = ", ".join(classes[int(c)] for c in unknown[:NAMED])
        raise ValueError(
            f"DATASET {name}: {len(unknown)} classes validate and do not train: {some}"
        )
