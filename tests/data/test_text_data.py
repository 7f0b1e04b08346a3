"""What a loader of texts hands to methods, and the nouns of WordNet."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from cl.build import text_data
from cl.config import parse_pretrain
from cl.data.loaders.sampler import checksum
from cl.data.loaders.texts import PairLoader, TextLoader
from cl.data.sets import Source, TextPairs, from_texts, load
from cl.data.sets._texts import pairs_of
from cl.data.text_data import TextData
from cl.data.tokens import NGrams
from cl.nets.texts import encoder_of

WORDS = "ant bee cat dog eel fox gnu hen ibis jay kiwi lark mole newt owl pig".split()


def made(negatives: bool = False) -> TextPairs:
    pairs = pairs_of([(f"{'very ' * (i % 3)}{word}", word[:2]) for i, word in enumerate(WORDS)])
    if not negatives:
        return pairs
    others = [np.array([j for j in range(16) if j not in (i, 15 - i)]) for i in range(16)]
    return replace(pairs, negatives=others)


def data(pairs: TextPairs, **options: int) -> TextData:
    source = Source("made", [], pairs, pairs)
    return TextData(source, NGrams(), longest=(50, 50), batch_size=4, **options)


def texts_of(x: torch.Tensor) -> list[list[int]]:
    return [[int(t) for t in row if t >= 0] for row in x]


def tokens_of(text: str) -> list[int]:
    return NGrams()([text], 50).flat.tolist()


@pytest.mark.parametrize("k", [0, 3])
def test_a_batch_has_queries_then_documents_with_their_negatives(k: int) -> None:
    pairs = made(negatives=True)
    seen = []
    for batch in data(pairs, negatives=k, distinct=False).train_dataloader():
        queries, documents = batch.views
        assert queries.dtype == documents.dtype == torch.int64
        assert queries.shape[:2] == (1, 4)
        assert documents.shape[:2] == (1 + k, 4)
        assert batch.global_views == 2
        assert texts_of(queries[0]) == [tokens_of(pairs.queries[i]) for i in batch.index]
        assert batch.labels.tolist() == pairs.positive[batch.index.numpy()].tolist()
        for number, side in enumerate(documents):
            places = pairs.positive if not number else [own[number - 1] for own in pairs.negatives]
            expected = [tokens_of(pairs.documents[places[i]]) for i in batch.index]
            assert texts_of(side) == expected
        seen += batch.index.tolist()
    assert sorted(seen) == list(range(16))


def test_a_batch_has_the_scores_of_its_pairs() -> None:
    scored = [(f"a {word}", f"{word} and more", i / 4) for i, word in enumerate(WORDS)]
    batches = [*data(from_texts((scored, scored[:2])).train).train_dataloader()]
    assert sorted(i for batch in batches for i in batch.index.tolist()) == [*range(16)]
    for batch in batches:
        assert batch.scores.tolist() == [i / 4 for i in batch.index.tolist()]
        assert batch.global_views == 2
    assert next(iter(data(made()).train_dataloader())).scores is None


def test_the_next_epoch_has_the_next_negatives() -> None:
    pairs = made(negatives=True)
    loader = data(pairs, negatives=2).train_dataloader()
    assert isinstance(loader, PairLoader)
    loader.sampler.set_epoch(8)
    index = np.array([0, 5])
    first, second = loader.negatives_of(index)
    assert first.tolist() == [pairs.negatives[i][16 % 14] for i in index]
    assert second.tolist() == [pairs.negatives[i][17 % 14] for i in index]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_has_every_text_once_queries_first(world: int) -> None:
    pairs = pairs_of([("a", "x"), ("b", "y"), ("c", "x")])
    assert list(pairs.documents) == ["x", "y"]
    made_data, found = data(pairs), {}
    for rank in range(world):
        loader = TextLoader(made_data.val_tokens, 2, rank, world)
        assert loader.samples == sum(len(b.index) for b in loader)
        for batch in loader:
            assert (batch.labels == -1).all()
            assert len(batch.views) == 1
            found |= dict(zip(batch.index.tolist(), texts_of(batch.views[0][0]), strict=True))
    assert found == dict(enumerate(map(tokens_of, ["a", "b", "c", "x", "y"])))
    assert made_data.val_samples == 5


def test_no_text_of_a_pair_is_a_negative_in_its_batch() -> None:
    """Pair 1 has the document of pair 0 as its negative, pair 2 its query, 3 is 2 turned."""
    given = pairs_of([("a", "x"), ("b", "y"), ("a", "z"), ("z", "a")] + [(w, w * 2) for w in WORDS])
    given = replace(given, negatives=[np.array([0 if i == 1 else 4 + i % 9]) for i in range(20)])
    made_data = data(given, negatives=1, seed=3)
    assert made_data.texts(0)[:4, :2].tolist() == [[0, 19], [1, 20], [0, 2], [2, 0]]
    for epoch in range(3):
        loader = made_data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for i in batch.index:
                others = made_data.texts(epoch)[batch.index[batch.index != i]]
                assert not {*made_data.texts(epoch)[i, :2]} & {*others.ravel()}
    assert data(given, distinct=False).sampler(4).texts is None


@pytest.mark.parametrize(
    ("words", "distinct"),
    [
        (["--loss", "mnrl"], True),
        (["--loss", "nt_xent"], True),
        (["--method", "triplet"], True),
        (["--method", "relic"], True),
        (["--method", "byol"], False),
        (["--method", "supcon"], False),
        (["--supervised"], False),
    ],
)
def test_what_compares_pairs_has_no_equal_texts_in_a_batch(
    words: list[str], distinct: bool
) -> None:
    """But where pairs of one document are to be positives."""
    config = parse_pretrain(["wordnet", "bag_w8", *words])
    source = Source("made", [], made(), made())
    assert text_data(config, source, encoder_of("bag_w8")).distinct == distinct


@pytest.mark.filterwarnings("ignore:.* are longer than the 9 tokens")
@pytest.mark.parametrize("longest", [(3, 9), (9, 3)])
def test_two_texts_of_one_kind_are_cut_alike(longest: tuple[int, int]) -> None:
    """The two views of a text alone, and the two sentences of a scored pair."""
    words = [f"{word} and some more" for word in WORDS]
    scored = [(word, f"{word} and no more", 0.5) for word in words]
    for val in (None, scored):
        source = from_texts(words, val)
        text_data = TextData(source, NGrams(), longest=longest, batch_size=4)
        for pairs in (source.train, source.val):
            assert all((side.lengths == 9).all() for side in text_data.tokens(pairs))
        assert "at most 9 tokens of a query and 9 of a document" in text_data.describe()
    pairs = pairs_of([(word, word) for word in words])
    assert pairs.used_lengths(longest) == longest


def test_one_document_for_all_is_refused() -> None:
    pairs = pairs_of([("a", "x"), ("b", "x")])
    with pytest.raises(ValueError, match="all 2 training pairs have the same document"):
        data(pairs)


def test_wordnet() -> None:
    source = load("wordnet", "")
    assert len(source.train) == 19844
    assert len(source.val) == 2000
    for part in (source.train, source.val):
        assert len(set(part.documents)) == len(part.documents)
    kitten = "young domestic cat"
    part = source.train if kitten in source.train.queries else source.val
    assert part.documents[part.positive[part.queries.index(kitten)]] == "kitten, kitty"
    again = load("wordnet", "")
    assert again.val.queries == source.val.queries
    some = load("wordnet", "", data_fraction=0.1)
    assert len(some.train) == 1984
    assert "1,984 of 19,844 training pairs" in some.describe()


def test_the_sum_at_the_start_and_the_first_epoch_make_one_order() -> None:
    pairs = pairs_of([(word, word[0] if i > 8 else "a") for i, word in enumerate(WORDS)])
    given = data(pairs)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        checksum(given.sampler(4), 4)
        batches = [batch.index.tolist() for batch in given.train_dataloader()]
    (warning,) = said
    assert "a pair has a text of another one" in str(warning.message)
    assert not given.orders
    assert sorted(np.ravel(batches)) == list(range(16))


def test_pairs_of_one_score_are_refused() -> None:
    pairs = replace(made(), scores=np.full(16, 3.0))
    with pytest.raises(ValueError, match="all 16 training pairs have the score 3, so that"):
        data(pairs)
