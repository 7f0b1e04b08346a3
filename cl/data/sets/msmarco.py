"""MS MARCO's passages (Bajaj et al. 2016, https://arxiv.org/abs/1611.09268) in its own TSV files.

In --data_folder/msmarco, each gzipped or not: collection.tsv (number, passage), queries.train.tsv
and queries.dev.small.tsv (number, query), qrels.train.tsv and qrels.dev.small.tsv (query, 0,
passage, grade). `dev.small` validates, 6,980 queries, or the part that --val_dir names, as
dl19. 8.8 million passages take about 6 GB of memory in each process as texts, and
their tokens more: docs/retrieval.md.
"""

from pathlib import Path

from cl.data.sets._jsonl import existing, lines
from cl.data.sets._qrels import required_file, search_data
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "8.8 million passages and the questions that they answer",
    "order": 83,
    "kind": "text",
    "val_dir": True,
}
VALIDATES = "dev.small"
COLUMNS = (0, 2, 3)  # of query, document and grade; the second one is always 0


def read(name: str, where: Where) -> Source[TextPairs]:
    """The passages, queries and judgments of both parts.

    Raises:
        ValueError: a file is missing or not as expected, with its line; or there are no relevance
            judgments.
    """
    flag, place = f"DATASET {name}", where.folder / "msmarco"

    def part(which: str) -> tuple[Path, dict[str, str]]:
        queries = texts_of_table(required_file(place / f"queries.{which}.tsv", flag), flag)
        return required_file(place / f"qrels.{which}.tsv", flag), queries

    passages = texts_of_table(required_file(place / "collection.tsv", flag), flag)
    train = part("train") if existing(place / "qrels.train.tsv") else None
    return search_data(name, passages, train, part(where.val_dir or VALIDATES), COLUMNS)


def texts_of_table(file: Path, flag: str) -> dict[str, str]:
    """Texts by their numbers.

    Raises:
        ValueError: a line has no number and text, or the number of another one.
    """
    texts: dict[str, str] = {}
    for place, line in lines(file, flag):
        name, tab, text = line.partition("\t")
        if not (tab and name.strip() and text.strip()):
            raise ValueError(f"{place} is not a number, a tab and a text, but {line[:40]}")
        if name in texts:
            raise ValueError(f"{place}: the number {name} was there before")
        texts[name] = text
    return texts
