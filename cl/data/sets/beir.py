"""Search data in BEIR's layout (Thakur et al. 2021, https://arxiv.org/abs/2104.08663).

A folder with corpus.jsonl ({"_id", "title", "text"}), queries.jsonl ({"_id", "text"}) and judgments
qrels/*.tsv (query-id, corpus-id, score), each of them gzipped or not. qrels/train.tsv is trained
on; dev.tsv validates or else test.tsv, or the one that --val_dir names. A document is its title,
". " and its text; one without either is kept, as in FiQA. The corpus is whole in both parts. A
document with the "_id" of a query is that query, as in ArguAna and Quora: it is not found for it,
as in BEIR, unless it is judged for it.
"""

from pathlib import Path

from cl.data.sets._jsonl import existing, json_lines, text_of
from cl.data.sets._qrels import required_file, search_data
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "queries, a corpus and judgments in BEIR's layout",
    "order": 82,
    "argument": "FOLDER",
    "kind": "text",
    "val_dir": True,
}
VALIDATES = ("dev", "test")  # the first of these that there is
COLUMNS = (0, 1, 2)  # of query, document and grade


def read(name: str, where: Where) -> Source[TextPairs]:
    """The folder's corpus, queries and judgments.

    Raises:
        ValueError: a file is missing or not as expected, with its line; or there are no relevance
            judgments.
    """
    flag, place = f"DATASET {name}", where.folder / name.partition(":")[2]
    documents = texts_in(required_file(place / "corpus.jsonl", flag), flag, titled=True)
    queries = texts_in(required_file(place / "queries.jsonl", flag), flag, titled=False)
    tables = {part: place / "qrels" / f"{part}.tsv" for part in ("train", *VALIDATES)}
    there = [tables[part] for part in VALIDATES if existing(tables[part])] or [tables[VALIDATES[0]]]
    asked = place / "qrels" / f"{where.val_dir}.tsv" if where.val_dir else there[0]
    val = required_file(asked, flag, "; --val_dir names the judgments that validate")
    train = existing(tables["train"])
    parts = (train, queries) if train else None, (val, queries)
    return search_data(name, documents, *parts, COLUMNS, shared=True)


def texts_in(file: Path, flag: str, *, titled: bool) -> dict[str, str]:
    """Texts by their identifiers.

    Args:
        file: of JSON lines.
        flag: what named it, for messages.
        titled: whether a title may stand before the text, or alone.

    Raises:
        ValueError: a line has no identifier, that of another one, or no text; that of a document
            may be empty.
    """
    texts: dict[str, str] = {}
    for place, row in json_lines(file, flag):
        name = text_of(row, "_id", place)
        if name in texts:
            raise ValueError(f'{place}: the "_id" {name} was there before')
        title = row.get("title") or ""
        if titled and str(title).strip():
            title = text_of(row, "title", place)
            text = row.get("text") or ""
            texts[name] = f"{title}. {text_of(row, 'text', place)}" if text else title
        else:
            empty = titled and row.get("text") == ""
            texts[name] = "" if empty else text_of(row, "text", place)
    return texts
