"""Pairs of sentences with a score: `{"sentence1": ..., "sentence2": ..., "score": 4.5}` a line.

As STS-B (Cer et al. 2017, https://arxiv.org/abs/1708.00055) and SICK have them. They are measured
on by --eval sts, all of them, and not trained on.
"""

import math

import numpy as np

from cl.data.sets._jsonl import json_lines, text_of
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "pairs of sentences with scores, a JSON object a line, or .gz of it",
    "order": 85,
    "argument": "FILE",
    "kind": "text",
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """The pairs of the file, all of which are measured on.

    Raises:
        ValueError: there is no such file, a line is wrong, or there are no two pairs.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    first, second, scores = [], [], []
    for place, row in json_lines(file, flag):
        first.append(text_of(row, "sentence1", place))
        second.append(text_of(row, "sentence2", place))
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise ValueError(f'{place}: "score" is no number, but {score}')
        if not math.isfinite(score):
            raise ValueError(f'{place}: "score" is {score}')
        scores.append(float(score))
    if len(scores) < 2:
        raise ValueError(f"{flag}: {file} has {len(scores)} pairs")
    nothing = np.empty((0, 3), np.int64)
    own = np.arange(len(scores))
    pairs = TextPairs(first, second, own, (), nothing, np.array(scores))
    return Source(name, [], pairs.subset(own[:0]), pairs, split="all are measured on")
