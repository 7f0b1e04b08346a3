"""The way in from Python for texts: pairs, pairs with scores, or texts alone, as a `Source`."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch.utils.data import DataLoader

from cl.data.sets._from_dataset import check_apart, check_map_style, from_dataset, name_of
from cl.data.sets._jsonl import text_of
from cl.data.sets._map_style import as_pair
from cl.data.sets._separate import separate
from cl.data.sets._source import Source
from cl.data.sets._text_rows import (
    Row,
    of_line,
    pairs_of_lines,
    pairs_with_scores,
    queries_of_lines,
    source_of_lines,
    source_of_scored,
    source_of_texts,
    texts_alone,
)
from cl.data.sets._texts import TextPairs
from cl.data.sets._values import TURNED, Decoding

KEYS = {"query", "sentence1"}  # either is in every item that is a dictionary
SCORED, ALONE = "score", "text"  # the keys that pairs with a score have, and texts alone


def holds_texts(data: Any) -> bool:
    """Whether the items of a data set, or of the first of its two parts that has any, are texts."""
    data = as_pair(data)
    parts = data if isinstance(data, tuple) and len(data) == 2 else (data,)
    first = next((item for part in parts for item in first_item(part)), None)
    if isinstance(first, Mapping):
        return not KEYS.isdisjoint(first)
    return isinstance(first[0] if isinstance(first, tuple | list) and first else first, str)


def first_item(data: Any) -> list[Any]:
    """The first item of a data set, or nothing where there is none that can be read."""
    if isinstance(data, DataLoader | str | Mapping) or not hasattr(data, "__getitem__"):
        return []
    try:
        return [separate(data)[0]] if len(data) else []
    except Exception:  # of an image, say, of which the reader of images tells
        return []


def from_texts(train: Any, val: Any = None, *, name: str | None = None) -> Source[TextPairs]:
    """Texts as a `Source`.

    An item is a pair: (query, positive), (query, positive, negatives) with one negative or several,
    or a dictionary {"query", "positive", "negatives"}, in which every key that begins with negative
    has one or several. Or it is a pair of sentences that people scored: (sentence1, sentence2,
    score), or a dictionary with these keys. Or it is a text alone, whose two views are the same
    text. All items of a part are of one of these kinds.

    Args:
        train: a list or a map-style data set; or a pair of them, for training and for validation.
        val: likewise; without it a tenth of the documents is held out, but where an item has a
            "split". Pairs with scores are all measured on then.
        name: of the data set; by default that of its class.

    Raises:
        ValueError: an item is none of these; the message has its number.
    """
    train = as_pair(train)
    if val is None and isinstance(train, tuple) and len(train) == 2:
        train, val = train
    name = name or name_of(train)
    check_apart(train, val, name)
    if val is None:
        return in_two_parts(keyed_items(train, name), name)
    first = pairs_of_items(keyed_items(train, f"{name} train"))
    second = pairs_of_items(keyed_items(val, f"{name} validation"), measured=True)
    return Source(name, [], first, second)


def from_items(
    train: Any, val: Any = None, *, name: str, decoding: Decoding = TURNED
) -> Source[Any]:
    """Texts or images as a `Source`, whichever the items are; see `from_dataset`."""
    if holds_texts((train, val)):
        return from_texts(train, val, name=name)
    return from_dataset(train, val, name=name, decoding=decoding)


def in_two_parts(rows: list[Row], name: str) -> Source[TextPairs]:
    """The source of a data set that has no validation part of its own."""
    if not rows:
        raise ValueError(f"{name}: it has no items")
    kind = item_kind(rows[0][1])
    if kind == SCORED:
        return source_of_scored(name, rows, name)
    if kind == ALONE:
        return source_of_texts(name, [text_of(row, ALONE, place) for place, row in rows], name)
    return source_of_lines(name, [of_line(row, place) for place, row in rows])


def pairs_of_items(rows: list[Row], *, measured: bool = False) -> TextPairs:
    """The pairs of a part, which may be empty.

    Args:
        rows: the items of the part, of one kind.
        measured: whether it validates, so that equal queries are one.
    """
    kind = item_kind(rows[0][1]) if rows else ""
    if kind == SCORED:
        return pairs_with_scores(rows)
    if kind == ALONE:
        return texts_alone([text_of(row, ALONE, place) for place, row in rows])
    lines = [of_line(row, place) for place, row in rows]
    return queries_of_lines(lines) if measured else pairs_of_lines(lines)


def keyed_items(data: Any, title: str) -> list[Row]:
    """All items of a data set as objects with keys, each with its place.

    Raises:
        ValueError: an item is of no kind, or of another one than the first.
    """
    check_map_style(data, title)
    rows: list[Row] = []
    for at in range(len(data)):
        place = f"{title}, item {at}"
        rows.append((place, keys_of(data[at], place)))
        if item_kind(rows[at][1]) != item_kind(rows[0][1]):
            raise ValueError(
                f"{place}: it is of another kind than the first one; all items are pairs, pairs "
                "with a score, or texts"
            )
    return rows


def item_kind(row: Mapping[str, Any]) -> str:
    """Of which kind an item is: the key that no other kind has, empty of a pair."""
    return next((key for key in (SCORED, ALONE) if key in row and "query" not in row), "")


def keys_of(item: Any, place: str) -> Mapping[str, Any]:
    """An item as an object with keys.

    Raises:
        ValueError: it is neither a pair nor a text.
    """
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str):
        return {ALONE: item}
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise ValueError(
            f"{place}: it is a {type(item).__name__}; it must be (query, positive), (query, "
            'positive, negatives) or a dictionary with "query" and "positive"'
        )
    first, second, *rest = item
    if len(rest) == 1 and isinstance(rest[0], Real):
        return {"sentence1": first, "sentence2": second, "score": rest[0]}
    several = len(rest) == 1 and isinstance(rest[0], tuple | list)
    return {"query": first, "positive": second, "negatives": rest[0] if several else rest}
