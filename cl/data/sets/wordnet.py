"""WordNet's nouns (Miller 1995, https://wordnet.princeton.edu) as timm has them for ImageNet-22k.

A query is the definition of a synset, its document the words for it, as in "a young cat" and
"kitten, kitty". 2,000 of 21,844 pairs validate, among whose documents theirs are searched.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs, pairs_of

HELD_OUT = 2000
ROW = {
    "help": "21,844 nouns and their definitions; comes with the packages",
    "order": 60,
    "kind": "text",
    "data_folder": False,
}


def read(name: str, _: Where) -> Source[TextPairs]:
    """All of them, in memory.

    Raises:
        ValueError: timm's files are not there.
    """
    spec = find_spec("timm")
    folder = Path((spec and spec.origin) or "").parent / "data" / "_info"
    try:
        words, definitions = (
            of_synsets(folder / f"imagenet_synset_to_{what}.txt")
            for what in ("lemma", "definition")
        )
    except OSError as error:
        raise ValueError(f"DATASET {name}: timm has no such file ({error})") from None
    pairs = [(definitions[synset], word) for synset, word in words.items()]
    order = np.random.RandomState(0).permutation(len(pairs))
    val, train = (pairs_of([pairs[i] for i in part]) for part in np.split(order, [HELD_OUT]))
    return Source(name, [], train, val, split=f"{HELD_OUT:,} pairs validate")


def of_synsets(file: Path) -> dict[str, str]:
    """The text of each synset."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)
