"""Pairs of texts in a file: `{"query": ..., "positive": ..., "negatives": [...]}` a line.

The negatives are texts that do not answer the query, though they look it. A line may have a
`split`: train, val or test.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cl.data.sets._held_out import part_in, parts_of
from cl.data.sets._images import Index
from cl.data.sets._jsonl import json_lines, text_of
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs, pairs_of

ROW = {
    "help": "pairs of texts, a JSON object a line, or .gz of it",
    "order": 83,
    "argument": "FILE",
    "kind": "text",
}
Line = tuple[str, str, list[str], str | None]


def read(name: str, where: Where) -> Source[TextPairs]:
    """The pairs of the file, a tenth of the documents held out where no line says what validates.

    Raises:
        ValueError: there is no such file, or a line is wrong.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    lines = [of_line(row, place) for place, row in json_lines(file, flag)]
    if not lines:
        raise ValueError(f"{flag}: {file} has no pairs")
    number = {text: at for at, text in enumerate(dict.fromkeys(line[1] for line in lines))}
    labels = np.array([number[line[1]] for line in lines])
    train, val, how = parts_of([line[3] for line in lines], labels)
    return Source(name, [], made(lines, train), made(lines, val), split=how)


def of_line(row: dict[str, Any], place: str) -> Line:
    """Query, document, negatives and part."""
    negatives = row.get("negatives", [])
    if not isinstance(negatives, list):
        raise ValueError(f'{place}: "negatives" must be a list of texts')
    hard = [text_of({"negatives": text}, "negatives", place) for text in negatives]
    query, positive = (text_of(row, key, place) for key in ("query", "positive"))
    if positive in hard:
        raise ValueError(f'{place}: one of its "negatives" is its "positive"')
    return query, positive, hard, part_in(row, place)


def made(lines: Sequence[Line], places: Index) -> TextPairs:
    """The pairs of some lines, whose documents and negatives are their corpus."""
    chosen = [lines[i] for i in places.tolist()]
    negatives = [line[2] for line in chosen]
    return pairs_of([line[:2] for line in chosen], negatives if any(negatives) else ())
