"""Texts alone, one a line: each is its own document, as in SimCSE (Gao et al. 2021).

The two views of a text (https://arxiv.org/abs/2104.08821, section 3) are the same text, which
dropout makes differ; an encoder without it learns only to spread the texts.
"""

import numpy as np

from cl.data.sets._held_out import parts_of
from cl.data.sets._jsonl import lines
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs, pairs_of

ROW = {
    "help": "a text a line, or .gz of it, each its own pair (SimCSE)",
    "order": 84,
    "argument": "FILE",
    "kind": "text",
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """The texts of the file; a tenth of them is held out, among which nothing is to be found.

    Raises:
        ValueError: there is no such file, or no text in it.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    every = [*dict.fromkeys(text for _, text in lines(file, flag))]
    if len(every) < 2:
        raise ValueError(f"{flag}: {file} has {len(every)} texts")
    train, val, how = parts_of([None] * len(every), np.arange(len(every)))
    parts = [pairs_of([(every[i], every[i]) for i in part.tolist()]) for part in (train, val)]
    no_judgments = np.empty((0, 3), np.int64)  # that a text finds itself says nothing
    held_out = TextPairs(parts[1].queries, parts[1].documents, parts[1].positive, (), no_judgments)
    return Source(name, [], parts[0], held_out, split=how.replace("documents", "texts"))
