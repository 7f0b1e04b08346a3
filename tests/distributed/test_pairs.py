"""Texts, and images with captions: several processes have the loss and gradient of one.

Some pairs share a document or a caption, also across processes. `make exactness` writes the
numbers, of even shards as well, into docs/exactness.md.
"""

import pytest
import torch
from torch import nn

from tests.distributed import exactness, pairs
from tests.distributed.exactness import BOUNDS, Found
from tests.distributed.pairs import CHUNKED, LOSSES, SHARDS, bag, captioned, of_captions


@pytest.fixture(scope="module")
def one() -> Found:
    """One process with the whole batch."""
    return pairs.steps(SHARDS["1"], 0)


@pytest.mark.parametrize("shards", [pytest.param("2 uneven", marks=pytest.mark.slow), "3 uneven"])
def test_value_and_gradient_are_those_of_one_process(
    shards: str, one: Found, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("gloo") / "found.pt"
    many = exactness.computed(SHARDS[shards], file, pairs.steps)
    errors = {name: max(exactness.error(many[name], one[name])) for name in one}
    assert not {name: error for name, error in errors.items() if error > BOUNDS["64"]}
    assert len(one) >= 3 * len(LOSSES)


def test_a_chunked_batch_has_the_gradient_of_the_whole(one: Found) -> None:
    for name, chunked in one.items():
        if name.endswith(CHUNKED):
            assert max(exactness.error(chunked, one[name.removesuffix(CHUNKED)])) <= 1e-12


def test_the_value_is_that_of_plain_loops() -> None:
    """CLIP's: an anchor's positives are the other tower's embeddings of its caption's pairs."""
    whole, method = captioned(slice(0, 24)), of_captions(bag, "clip")
    h = method.embed(whole.views)
    scale = 1 / method.learnable.values()["temperature"]
    sides, total = nn.functional.normalize(h, dim=2), torch.zeros((), dtype=torch.float64)
    for own, other in (sides, sides.flip(0)):
        for i in range(24):
            same = [j for j in range(24) if whole.labels[j] == whole.labels[i]]
            positives = [own[i] @ other[j] for j in same]
            others = torch.stack([own[i] @ other[j] for j in range(24)]) * scale
            total = total + others.logsumexp(0) - torch.stack(positives).mean() * scale
    torch.testing.assert_close(method.objective(h, whole.labels), total / 48)
