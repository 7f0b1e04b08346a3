"""Batches of samples of like length: a function of seed and epoch, whatever the processes."""

from collections import Counter

import numpy as np
import pytest

from cl.data.loaders.lengths import WINDOW, LengthSampler, Swaps
from cl.data.loaders.sampler import checksum

LENGTHS = np.random.default_rng(0).geometric(0.02, 5000)


def sampler(batch: int = 32, rank: int = 0, world: int = 1, **more: bool) -> LengthSampler:
    return LengthSampler(LENGTHS, batch, 7, rank, world, **more)


def padding(batches: list[np.ndarray]) -> float:
    """The fraction of padding in tensors of these batches."""
    tokens = sum(LENGTHS[b].sum() for b in batches)
    return 1 - tokens / sum(LENGTHS[b].max() * len(b) for b in batches)


@pytest.mark.parametrize("world", [2, 4])
def test_the_global_batches_are_the_same_for_any_number_of_processes(world: int) -> None:
    one = sampler(32)
    ranks = [sampler(32 // world, rank, world) for rank in range(world)]
    for epoch in range(2):
        for each in (one, *ranks):
            each.set_epoch(epoch)
        parts = zip(*[list(each.remaining()) for each in ranks], strict=True)
        whole = [sorted(np.concatenate(step).tolist()) for step in parts]
        assert whole == [sorted(x.tolist()) for x in one.remaining()]
    assert checksum(one) == checksum(sampler(32))


def test_each_process_has_the_same_lengths_nearly() -> None:
    for parts in zip(*[sampler(16, rank, 2).remaining() for rank in range(2)], strict=True):
        a, b = (np.sort(LENGTHS[part]) for part in parts)
        assert (a <= b).all()  # every second sample of a sorted batch


def test_an_epoch_is_every_sample_once_and_little_padding() -> None:
    one = sampler(32)
    batches = list(one.remaining())
    assert len(batches) == len(one) == 5000 // 32
    assert len(np.unique(np.concatenate(batches))) == 32 * len(batches)
    order = np.random.default_rng(0).permutation(5000)[: 32 * len(batches)].reshape(-1, 32)
    assert padding([*order]) > 0.5
    assert padding(batches) < 0.15
    filled = np.concatenate(list(sampler(32, fill=True).remaining()))
    assert set(filled.tolist()) == set(range(5000))


def test_batches_come_in_no_order_of_length() -> None:
    means = [LENGTHS[b].mean() for b in list(sampler(32).remaining())[:WINDOW]]
    assert np.corrcoef(means, np.arange(len(means)))[0, 1] < 0.5


def test_epochs_differ_and_an_interrupted_one_goes_on() -> None:
    first, second = sampler(), sampler()
    second.set_epoch(1)
    assert first.order().tolist() != second.order().tolist()
    rest = list(first.remaining())[3:]
    resumed = sampler()
    resumed.load_state_dict({"given": 3})
    assert [x.tolist() for x in resumed.remaining()] == [x.tolist() for x in rest]


PAIRS = np.random.default_rng(1).integers(0, 1500, (5000, 3))  # query, positive and a negative


def apart(batch: int = 32, rank: int = 0, world: int = 1) -> LengthSampler:
    return LengthSampler(LENGTHS, batch, 7, rank, world, texts=lambda epoch: PAIRS + epoch)


def test_no_text_of_a_pair_is_in_another_one_of_its_batch() -> None:
    for epoch in range(2):
        one, before = apart(), sampler()
        for each in (one, before):
            each.set_epoch(epoch)
        batches = list(one.remaining())
        for batch in batches:
            for sample in batch:
                others = PAIRS[batch[batch != sample]]
                assert not {*PAIRS[sample, :2].tolist()} & {*others.ravel().tolist()}
        assert sorted(one.order()) == sorted(before.order())
        assert padding(batches) < 0.2


def test_such_batches_are_the_same_for_any_number_of_processes_and_after_a_resume() -> None:
    parts = zip(*[list(apart(16, rank, 2).remaining()) for rank in range(2)], strict=True)
    whole = [sorted(np.concatenate(step).tolist()) for step in parts]
    assert whole == [sorted(x.tolist()) for x in apart().remaining()]
    resumed = apart()
    resumed.load_state_dict({"given": 3})
    assert [sorted(x.tolist()) for x in resumed.remaining()] == whole[3:]


def test_nothing_is_swapped_where_only_negatives_are_in_several_samples() -> None:
    texts = np.column_stack([np.arange(10000).reshape(5000, 2), np.full((5000, 2), 10000)])
    assert LengthSampler(LENGTHS, 32, 7, texts=lambda _: texts).order().tolist() == (
        sampler().order().tolist()
    )


def test_a_text_of_more_pairs_than_batches_is_said() -> None:
    texts = np.array([[i, max(10, i + 8)] for i in range(8)])  # three have one document
    few = LengthSampler(LENGTHS[:8], 4, 7, texts=lambda _: texts)
    with pytest.warns(UserWarning, match="in 1 of 2 batches a pair has a text of another"):
        order = few.order()
    assert sorted(order) == list(range(8))


@pytest.mark.filterwarnings("ignore:in 156 of 156 batches")
def test_room_is_not_searched_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two documents of 5,000 pairs: no batch is without either."""
    looked, texts_of = [], Swaps.texts_of

    def spy(swaps: Swaps, b: int) -> Counter[int]:
        looked.append(b)
        return texts_of(swaps, b)

    monkeypatch.setattr(Swaps, "texts_of", spy)
    texts = np.column_stack([np.arange(5000), 5000 + np.arange(5000) % 2])
    LengthSampler(LENGTHS, 32, 7, texts=lambda _: texts).order()
    assert len(looked) < 20 * 5000
