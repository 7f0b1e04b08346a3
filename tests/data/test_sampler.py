"""The samples of a step do not depend on how many processes share it."""

import numpy as np
import pytest

from cl.data.loaders.sampler import Sampler, shard


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_together_are_one_process(world: int, fill: bool) -> None:
    one = Sampler(50, 12, 7, fill=fill)
    ranks = [Sampler(50, 12 // world, 7, rank, world, fill) for rank in range(world)]
    for epoch in range(2):
        for sampler in (one, *ranks):
            sampler.set_epoch(epoch)
        parts = [list(sampler.remaining()) for sampler in ranks]
        whole = [np.concatenate(step) for step in zip(*parts, strict=True)]
        assert [x.tolist() for x in whole] == [x.tolist() for x in one.remaining()]
        assert len(whole) == len(one) == len(ranks[0])


def test_drop_and_fill() -> None:
    dropped, filled = Sampler(50, 12, 0), Sampler(50, 12, 0, fill=True)
    assert (len(dropped), len(filled)) == (4, 5)
    kept = np.concatenate(list(dropped.remaining()))
    assert len(np.unique(kept)) == 48
    order = np.concatenate(list(filled.remaining()))
    assert sorted(order[:50]) == list(range(50))
    assert order[50:].tolist() == order[:10].tolist()
    assert order[:48].tolist() == kept.tolist()


def test_fill_repeats_a_small_set_as_often_as_it_takes() -> None:
    (batch,) = Sampler(3, 8, 0, fill=True).remaining()
    assert np.bincount(batch).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_epochs_and_seeds_differ() -> None:
    orders = set()
    for seed in range(3):
        sampler = Sampler(20, 5, seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(np.concatenate(list(sampler.remaining())).tobytes())
    assert len(orders) == 9


def test_an_empty_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--batch_size 8 on 2 device.*--last_batch_fill"):
        Sampler(15, 8, 0, 0, 2)


def test_state() -> None:
    sampler, other = Sampler(20, 5, 0), Sampler(20, 5, 0)
    whole = list(sampler.remaining())
    sampler.given = 3
    other.load_state_dict(sampler.state_dict())
    assert [x.tolist() for x in other.remaining()] == [whole[3].tolist()]
    sampler.given = 4  # a whole epoch: the next one starts at its beginning
    assert sampler.state_dict() == {"given": 0}


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("samples", [1, 5, 50])
def test_shards_cover_everything_once(samples: int, world: int) -> None:
    parts = [b for rank in range(world) for b in shard(samples, 4, rank, world)]
    assert [i for b in parts for i in b] == list(range(samples))
    assert all(0 < len(b) <= 4 for b in parts)
