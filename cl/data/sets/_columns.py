"""Texts in the columns of tables that Hugging Face's `datasets` saved, by the columns' names."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cl.data.sets._jsonl import text_of
from cl.data.sets._source import Source
from cl.data.sets._text_rows import (
    NEGATIVE,
    Row,
    of_line,
    pairs_of_lines,
    pairs_with_scores,
    queries_of_lines,
    source_of_lines,
    source_of_scored,
    source_of_texts,
)
from cl.data.sets._texts import TextPairs
from cl.data.sets._walk import VALIDATION, Walk, part_of_name

STRINGS = ("string", "large_string")
# The names that a column may have, by the key of a row that it becomes.
NAMES = {
    "query": ("query", "anchor", "question"),
    "positive": ("positive", "answer", "document", "passage"),
    "sentence1": ("sentence1", "sentence_A"),
    "sentence2": ("sentence2", "sentence_B"),
    "text": ("text", "sentence"),
}
# A score is a number of any type; a label is one where it is no whole number.
SCORE_COLUMNS = ("score", "similarity_score", "relatedness_score", "similarity")
LABEL_COLUMNS = ("label", "labels")
NUMBERS = ("float", "int", "uint")  # how the types of numbers begin


def known_columns(features: Mapping[str, Any], title: str) -> dict[str, list[str]]:
    """The columns that become each key of a row.

    Args:
        features: the types of the columns by name.
        title: of the table, for messages.

    Raises:
        ValueError: they are of no pairs, of none with a score, and of no texts; or a column says
            which of the pairs belong together.
    """
    found = {key: [n for n in names if n in features][:1] for key, names in NAMES.items()}
    types = {name: str(getattr(features[name], "dtype", "")) for name in features}
    scores = [n for n in SCORE_COLUMNS if types.get(n, "").startswith(NUMBERS)]
    scores += [n for n in LABEL_COLUMNS if types.get(n, "").startswith("float")]
    labels = [n for n in LABEL_COLUMNS if n in features]
    if found["query"] and found["positive"]:
        check_all_positive([*scores, *labels], title)
        negatives = [name for name in features if name.startswith(NEGATIVE)]
        return {key: found[key] for key in ("query", "positive")} | {"negatives": negatives}
    if found["sentence1"] and found["sentence2"]:
        if scores:
            return {key: found[key] for key in ("sentence1", "sentence2")} | {"score": scores[:1]}
        check_all_positive(labels, title, "; if these are scores, cast_column makes them float32")
        return {"query": found["sentence1"], "positive": found["sentence2"], "negatives": []}
    if found["text"]:
        return {"text": found["text"]}
    raise ValueError(
        f"{title}: it has the columns {', '.join(features)}; rename_column makes query and positive"
        " of them (and negative), sentence1, sentence2 and score, or text"
    )


def check_all_positive(columns: Sequence[str], title: str, hint: str = "") -> None:
    """Check that no column says of a pair that its texts do not belong together.

    Args:
        columns: those that may.
        title: of the table, for messages.
        hint: what else may be done.

    Raises:
        ValueError: there is such a column.
    """
    if columns:
        raise ValueError(
            f"{title}: its column {columns[0]} may say that some pairs do not belong together, and "
            f"all would be positives; filter keeps those that do, remove_columns drops it{hint}"
        )


def rows_in(data: Any, columns: Mapping[str, list[str]], title: str) -> Iterator[Row]:
    """The rows of a table with the keys that texts have here.

    Args:
        data: a `datasets.Dataset`.
        columns: see `known_columns`.
        title: of the table, for messages.
    """
    for at, row in enumerate(data.select_columns([n for names in columns.values() for n in names])):
        own: dict[str, Any] = {key: row[names[0]] for key, names in columns.items() if names}
        if "negatives" in columns:
            cells = [row[name] for name in columns["negatives"]]
            own["negatives"] = [
                text for cell in cells for text in (cell if isinstance(cell, list) else [cell])
            ]
        yield f"{title}, row {at}", own


def source_of_columns(name: str, parts: Mapping[str, Any], place: str) -> Source[TextPairs]:
    """Texts of a saved data set.

    Args:
        name: of the data set.
        parts: its tables by the names of the splits.
        place: of it, for messages.

    Raises:
        ValueError: the columns are not known, a row is wrong, or there is no split to train on.
    """
    flag = f"DATASET {name}"
    called = {part_of_name(split): split for split in reversed([*parts])}
    second = next((called[part] for part in VALIDATION if part in called), None)
    columns = known_columns(next(iter(parts.values())).features, f"{flag}: {place}")

    def rows(split: str) -> list[Row]:
        title = f"{flag}: {place} {split}"
        return [*rows_in(parts[split], known_columns(parts[split].features, title), title)]

    if "score" in columns:
        measured = second or next(iter(parts))
        source = source_of_scored(name, rows(measured), f"{flag}: {place} {measured}")
        train = called.get("train", measured)
        if train != measured:
            source = replace(source, train=pairs_with_scores(rows(train)))
        return told_of(source, parts, {measured, train}, f"{measured} is measured on")
    if "train" not in called:
        raise ValueError(f"{flag}: {place} has no split train, but {', '.join(parts)}")
    train = rows(called["train"])
    if "text" in columns:
        texts = [text_of(row, "text", at) for at, row in train]
        return told_of(source_of_texts(name, texts, place), parts, {called["train"]})
    lines = [of_line(row, at) for at, row in train]
    if not lines:
        raise ValueError(f"{flag}: {place} has no pairs")
    if second is None:
        return told_of(source_of_lines(name, lines), parts, {called["train"]})
    val = queries_of_lines([of_line(row, at) for at, row in rows(second)])
    source = Source(name, [], pairs_of_lines(lines), val)
    return told_of(source, parts, {called["train"], second}, f"{second} validates")


def told_of(
    source: Source[TextPairs], parts: Mapping[str, Any], used: set[str], how: str = ""
) -> Source[TextPairs]:
    """The source with how its parts came about, and what of the saved data set is not used."""
    others = Counter({f"in {split}": len(parts[split]) for split in sorted({*parts} - used)})
    left = Walk(left_out=others).describe()
    return Source(
        source.name, [], source.train, source.val, split=how or source.split, left_out=left
    )
