"""Pairs of sentences with a score: `{"sentence1": ..., "sentence2": ..., "score": 4.5}` a line.

As STS-B (Cer et al. 2017, https://arxiv.org/abs/1708.00055) and SICK have them. They are measured
on by --eval sts. Where lines have a `split`, train, val or test, those of train are trained on by
--method cosent and angle; without it all are measured on.
"""

from cl.data.sets._jsonl import json_lines
from cl.data.sets._source import Source, Where
from cl.data.sets._text_rows import source_of_scored
from cl.data.sets._texts import TextPairs

ROW = {
    "help": "pairs of sentences with scores, a JSON object a line, or .gz of it",
    "order": 85,
    "argument": "FILE",
    "kind": "text",
    "symmetric": True,
    "scores": True,
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """The pairs of the file, all of which are measured on but where lines say that they train.

    Raises:
        ValueError: there is no such file, a line is wrong, or there are no two pairs.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    return source_of_scored(name, [*json_lines(file, flag)], f"{flag}: {file}")
