"""Texts alone, one a line: each is its own document, as in SimCSE (Gao et al. 2021).

The two views of a text (https://arxiv.org/abs/2104.08821, section 3) are the same text, which
dropout makes differ; an encoder without it learns only to spread the texts.
"""

from cl.data.sets._jsonl import lines
from cl.data.sets._source import Source, Where
from cl.data.sets._text_rows import source_of_texts
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "a text a line, or .gz of it, each its own pair (SimCSE)",
    "order": 84,
    "argument": "FILE",
    "kind": "text",
    "symmetric": True,
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """The texts of the file; a tenth of them is held out, among which nothing is to be found.

    Raises:
        ValueError: there is no such file, or no text in it.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    return source_of_texts(name, [text for _, text in lines(file, flag)], f"{flag}: {file}")
