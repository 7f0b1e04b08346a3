"""Pairs of texts in a file: `{"query": ..., "positive": ..., "negatives": [...]}` a line.

The negatives are texts that do not answer the query, though they look it, of every key that begins
with negative: a text or a list. A line may have a `split`: train, val or test.
"""

from cl.data.sets._jsonl import json_lines
from cl.data.sets._source import Source, Where
from cl.data.sets._text_rows import of_line, source_of_lines
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "pairs of texts, a JSON object a line, or .gz of it",
    "order": 83,
    "argument": "FILE",
    "kind": "text",
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """The pairs of the file, a tenth of the documents held out where no line says what validates.

    Raises:
        ValueError: there is no such file, or a line is wrong.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    lines = [of_line(row, place) for place, row in json_lines(file, flag)]
    if not lines:
        raise ValueError(f"{flag}: {file} has no pairs")
    return source_of_lines(name, lines)
