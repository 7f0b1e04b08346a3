"""Search data: a corpus, queries, and judgments by their identifiers, as pairs of texts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl.data.sets._images import Index
from cl.data.sets._jsonl import existing, lines
from cl.data.sets._source import Source
from cl.data.sets._texts import TextPairs

Texts = Mapping[str, str]  # by identifier
Grades = dict[tuple[str, str], int]  # of a query and a document; above 0 it is relevant


class Corpus:
    """Documents in the order of their identifiers, by which trec_eval breaks ties.

    Args:
        texts: of the documents.
    """

    def __init__(self, texts: Texts) -> None:
        ids = sorted(texts)
        self.place = {name: i for i, name in enumerate(ids)}
        self.documents = [texts[name] for name in ids]


@dataclass(frozen=True)
class Qrels:
    """Judgments of one part, all of queries and documents that are there.

    Args:
        file: where they stand.
        queries: texts of the queries, others too.
        grades: of a query and a document.
        missing: how many were left out, since their query or their document is not there.
    """

    file: Path
    queries: Texts
    grades: Grades
    missing: int

    def describe(self) -> str:
        """What was left out, in words; empty if nothing was."""
        what = "judgment" if self.missing == 1 else "judgments"
        lacks = "left out, whose query or document is not there"
        return f"{self.missing:,} {what} of {self.file.name} {lacks}" if self.missing else ""


def search_data(
    name: str,
    documents: Texts,
    train: tuple[Path, Texts] | None,
    val: tuple[Path, Texts],
    columns: tuple[int, int, int],
    *,
    shared: bool = False,
) -> Source[TextPairs]:
    """Both parts of a data set, on the whole corpus.

    Args:
        name: as on the command line.
        documents: the corpus.
        train: the judgments that are trained on, and their queries; without them that part is
            empty.
        val: the judgments that are measured on, and their queries.
        columns: where query, document and grade stand in both; the largest is the last column.
        shared: a document of a query's identifier is that query, and not found for it.

    Raises:
        ValueError: a file of judgments is not as expected, with its line; or nothing is qrels.
    """
    corpus, flag = Corpus(documents), f"DATASET {name}"
    parts = [
        known(file, queries, read_judgments(file, flag, columns), corpus, flag)
        for file, queries in (part for part in (val, train) if part)
    ]
    measured = measured_queries(parts[0], corpus, shared=shared)
    trained = (
        training_pairs(parts[1], corpus, shared=shared)
        if train
        else measured.subset(measured.positive[:0])
    )
    left = "; ".join(filter(None, (part.describe() for part in parts)))
    empty = sum(not text for text in documents.values())
    note = f"{empty:,} of the corpus {'is' if empty == 1 else 'are'} empty" if empty else ""
    split = f"{val[0].name} validates"
    return Source(name, [], trained, measured, note, split=split, left_out=left)


def required_file(file: Path, flag: str, hint: str = "") -> Path:
    """The file, or the same gzipped.

    Raises:
        ValueError: neither is there.
    """
    found = existing(file)
    if found is None:
        raise ValueError(f"{flag}: no {file} (or {file.name}.gz){hint}")
    return found


def read_judgments(file: Path, flag: str, columns: tuple[int, int, int]) -> Grades:
    """A table of judgments; a first line whose grade is no number is its header.

    Args:
        file: columns are separated by tabs or spaces.
        flag: what named it on the command line, for messages.
        columns: where query, document and grade stand; the largest is the last column.

    Raises:
        ValueError: a line has other columns, no whole number as its grade, or another grade for a
            pair that has a grade already.
    """
    grades: Grades = {}
    for i, (place, line) in enumerate(lines(file, flag)):
        words = line.split()
        if len(words) != max(columns) + 1:
            raise ValueError(f"{place} has {len(words)} columns and not {max(columns) + 1}")
        query, document, grade = (words[c] for c in columns)
        if not grade.removeprefix("-").isdecimal():
            if i == 0:
                continue
            raise ValueError(f"{place}: the grade {grade} is no whole number")
        if grades.setdefault((query, document), int(grade)) != int(grade):
            raise ValueError(f"{place}: query {query} and document {document} had another grade")
    return grades


def known(file: Path, queries: Texts, grades: Grades, corpus: Corpus, flag: str) -> Qrels:
    """The judgments whose query and document are there.

    Raises:
        ValueError: there is none, or none of a relevant document.
    """
    kept = {(q, d): g for (q, d), g in grades.items() if q in queries and d in corpus.place}
    if not kept:
        raise ValueError(
            f"{flag}: {file}: of none of its {len(grades):,} judgments both query and document are "
            "there; are these the files of one data set?"
        )
    if max(kept.values()) <= 0:
        raise ValueError(f"{flag}: {file}: no query has a relevant document (a grade above 0)")
    return Qrels(file, queries, kept, len(grades) - len(kept))


def places_of_queries(names: Iterable[str], qrels: Qrels, corpus: Corpus) -> Index | None:
    """The place of the document of each query's identifier, unless it is judged for the query.

    Args:
        names: the queries' identifiers.
        qrels: their judgments.
        corpus: the documents.

    Returns:
        -1 for a query without one; None if no query has one.
    """
    places = [-1 if (n, n) in qrels.grades else corpus.place.get(n, -1) for n in names]
    return np.array(places, np.int64) if max(places, default=-1) >= 0 else None


def training_pairs(qrels: Qrels, corpus: Corpus, *, shared: bool = False) -> TextPairs:
    """A pair for each relevant document of a query; documents of equal texts are one positive."""
    relevant = [
        (query, corpus.place[document])
        for (query, document), grade in qrels.grades.items()
        if grade > 0
    ]
    first: dict[str, int] = {}
    positive = [first.setdefault(corpus.documents[place], place) for _, place in relevant]
    texts = [qrels.queries[query] for query, _ in relevant]
    itself = places_of_queries([q for q, _ in relevant], qrels, corpus) if shared else None
    return TextPairs(texts, corpus.documents, np.array(positive, np.int64), itself=itself)


def measured_queries(qrels: Qrels, corpus: Corpus, *, shared: bool = False) -> TextPairs:
    """Every query that has a relevant document once, with all of its judgments.

    Its document is the one of the highest grade, the first of several.
    """
    best: dict[str, tuple[int, int]] = {}
    for (query, document), grade in qrels.grades.items():
        if grade > max(0, best.get(query, (0, 0))[0]):
            best[query] = grade, corpus.place[document]
    number = {query: i for i, query in enumerate(best)}
    grades = [
        (number[query], corpus.place[document], grade)
        for (query, document), grade in qrels.grades.items()
        if query in number
    ]
    positive = np.array([place for _, place in best.values()], np.int64)
    texts = [qrels.queries[query] for query in best]
    table = np.array(grades, np.int64)
    itself = places_of_queries(best, qrels, corpus) if shared else None
    return TextPairs(texts, corpus.documents, positive, grades=table, itself=itself)
