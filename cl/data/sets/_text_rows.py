"""Pairs of texts from objects with their keys: lines of files, rows of tables, items of Python."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from cl.data.sets._held_out import part_in, parts_of
from cl.data.sets._jsonl import text_of
from cl.data.sets._source import Source
from cl.data.sets._texts import TextPairs, pairs_of

Row = tuple[str, Mapping[str, Any]]  # the place, for messages, and the object
Line = tuple[str, str, list[str], str | None]
PAIR = ("query", "positive", "split")  # the keys of a pair
NEGATIVE = "negative"  # how keys and columns of hard negatives begin
IDENTIFIER = re.compile(r"(.*_)?(id|idx)")  # keys that are of no use here, and do no harm
NO_JUDGMENTS = np.empty((0, 3), np.int64)


def of_line(row: Mapping[str, Any], place: str) -> Line:
    """Query, document, negatives and part.

    Raises:
        ValueError: one of them is not what it should be, or there is a key that is none of them.
    """
    query, positive = (text_of(row, key, place) for key in ("query", "positive"))
    hard = [text for key in row if key.startswith(NEGATIVE) for text in texts_of(row, key, place)]
    if positive in hard:
        raise ValueError(f'{place}: one of its "negatives" is its "positive"')
    for key in row:
        if not (key in PAIR or key.startswith(NEGATIVE) or IDENTIFIER.fullmatch(key)):
            raise ValueError(
                f'{place}: "{key}" is not read; a pair has "query", "positive", what begins with '
                '"negative", and "split" (and "id" or what ends in "_id"); leave out what is not '
                "needed"
            )
    return query, positive, hard, part_in(row, place)


def texts_of(row: Mapping[str, Any], key: str, place: str) -> list[str]:
    """The texts of a key that has one or several.

    Raises:
        ValueError: it has neither, or one of them is empty.
    """
    found = row[key]
    if not isinstance(found, str | list | tuple):
        raise ValueError(f'{place}: "{key}" must be a text or a list of texts')
    return [
        text_of({key: text}, key, place) for text in ([found] if isinstance(found, str) else found)
    ]


def pairs_of_lines(lines: Sequence[Line]) -> TextPairs:
    """The pairs of some lines, whose documents and negatives are their corpus."""
    negatives = [line[2] for line in lines]
    return pairs_of([line[:2] for line in lines], negatives if any(negatives) else ())


def queries_of_lines(lines: Sequence[Line]) -> TextPairs:
    """The pairs of some lines as they are measured on: equal queries are one, with all documents.

    Its own document is that of its first line. Its negatives are in the corpus, and no more.
    """
    pairs = pairs_of_lines(lines)
    number = {query: at for at, query in enumerate(dict.fromkeys(pairs.queries))}
    if len(number) == len(pairs):
        return pairs
    asked = [number[query] for query in pairs.queries]
    answers = dict.fromkeys(zip(asked, pairs.positive.tolist(), strict=True))
    grades = np.array([(query, document, 1) for query, document in answers], np.int64)
    first = np.unique(asked, return_index=True)[1]
    return TextPairs([*number], pairs.documents, pairs.positive[first], grades=grades)


def source_of_lines(name: str, lines: Sequence[Line]) -> Source[TextPairs]:
    """Pairs in two parts, a tenth of the documents held out where no line says what validates."""
    number = {text: at for at, text in enumerate(dict.fromkeys(line[1] for line in lines))}
    labels = np.array([number[line[1]] for line in lines])
    train, val, how = parts_of([line[3] for line in lines], labels)

    first, second = ([lines[i] for i in part.tolist()] for part in (train, val))
    return Source(name, [], pairs_of_lines(first), queries_of_lines(second), split=how)


def pairs_with_scores(rows: Sequence[Row]) -> TextPairs:
    """Pairs of sentences with their scores, of which none is judged to be relevant.

    Raises:
        ValueError: a row is wrong.
    """
    first, second, scores = [], [], []
    for place, row in rows:
        first.append(text_of(row, "sentence1", place))
        second.append(text_of(row, "sentence2", place))
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, Real):
            raise ValueError(f'{place}: "score" is no number, but {score}')
        if not math.isfinite(score):
            raise ValueError(f'{place}: "score" is {score}')
        scores.append(float(score))
    own = np.arange(len(scores))
    return TextPairs(
        first, second, own, (), NO_JUDGMENTS, np.array(scores, np.float64), symmetric=True
    )


def source_of_scored(name: str, rows: Sequence[Row], where: str) -> Source[TextPairs]:
    """Pairs with scores, all of which are measured on but where some say that they train.

    Args:
        name: of the data set.
        rows: of the pairs.
        where: they are from, for messages.

    Raises:
        ValueError: a row is wrong, or there are no two.
    """
    if len(rows) < 2:
        raise ValueError(f"{where} has {len(rows)} pairs")
    pairs, own = pairs_with_scores(rows), np.arange(len(rows))
    parts = [part_in(row, place) for place, row in rows]
    if not any(parts):
        return Source(name, [], pairs.subset(own[:0]), pairs, split="all are measured on")
    train, val, how = parts_of(parts, own)
    first, second = (pairs_with_scores([rows[i] for i in part.tolist()]) for part in (train, val))
    return Source(name, [], first, second, split=how.replace("documents", "pairs"))


def texts_alone(texts: Sequence[str]) -> TextPairs:
    """Texts, each its own document; that a text finds itself says nothing, so none is judged."""
    pairs = pairs_of([(text, text) for text in texts])
    return replace(pairs, grades=NO_JUDGMENTS, symmetric=True)


def source_of_texts(name: str, texts: Sequence[str], where: str) -> Source[TextPairs]:
    """Texts alone in two parts, of which a tenth is held out, among which nothing is to be found.

    Args:
        name: of the data set.
        texts: of which equal ones are one.
        where: they are from, for messages.

    Raises:
        ValueError: there are no two.
    """
    every = [*dict.fromkeys(texts)]
    if len(every) < 2:
        raise ValueError(f"{where} has {len(every)} texts")
    train, val, how = parts_of([None] * len(every), np.arange(len(every)))
    first, held_out = ([every[i] for i in part.tolist()] for part in (train, val))
    pairs = replace(pairs_of([(text, text) for text in first]), symmetric=True)
    return Source(name, [], pairs, texts_alone(held_out), split=how.replace("documents", "texts"))
