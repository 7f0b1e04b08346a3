"""WordNet's nouns (Miller 1995, https://wordnet.princeton.edu) as timm has them for ImageNet-22k.

A query is the definition of a synset, its document the words for it, as in "a young cat" and
"kitten, kitty". 2,000 of 21,844 pairs validate, among whose documents theirs are searched. With
--val_dir train 2,000 of the others do, so that settings can be chosen without a look at the first.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cl.data.sets._source import Source, Where
from cl.data.sets._texts import TextPairs, pairs_of

HELD_OUT = 2000
TRAIN = "train"  # the part that --val_dir may name
ROW = {
    "help": "21,844 nouns and their definitions; comes with the packages",
    "order": 60,
    "kind": "text",
    "data_folder": False,
    "val_dir": True,
}


def read(name: str, where: Where) -> Source[TextPairs]:
    """All of them, in memory.

    Raises:
        ValueError: timm's files are not there, or --val_dir is another word than train.
    """
    if where.val_dir not in (None, TRAIN):
        raise ValueError(f"--val_dir {where.val_dir}: DATASET {name} has only {TRAIN}")
    try:
        words, definitions = of_synsets("lemma"), of_synsets("definition")
    except OSError as error:
        raise ValueError(f"DATASET {name}: timm has no such file ({error})") from None
    pairs = [(definitions[synset], word) for synset, word in words.items()]
    order = np.random.RandomState(0).permutation(len(pairs))
    split = f"{HELD_OUT:,} pairs validate"
    if where.val_dir:
        order, split = order[HELD_OUT:], f"{HELD_OUT:,} training pairs validate"
    val, train = (pairs_of([pairs[i] for i in part]) for part in np.split(order, [HELD_OUT]))
    return Source(name, [], train, val, split=split)


def of_synsets(what: str) -> dict[str, str]:
    """The text of each synset that timm has.

    Args:
        what: `lemma`, the words for it, or `definition`.

    Raises:
        OSError: timm has no such file.
    """
    spec = find_spec("timm")
    folder = Path((spec and spec.origin) or "").parent / "data" / "_info"
    text = (folder / f"imagenet_synset_to_{what}.txt").read_text(encoding="utf-8")
    lines = text.splitlines()
    return dict(line.split("\t", 1) for line in lines)
