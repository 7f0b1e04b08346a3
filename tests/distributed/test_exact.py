"""Losses and methods have the value and gradient of one process on two and three, even or not.

`make exactness` writes all the numbers, of four processes as well, into docs/exactness.md.
"""

import pytest
import torch

from tests.distributed import exactness
from tests.distributed.exactness import BOUNDS, BUFFERS, HALVES, METHOD, REDUCTIONS, SHARDS, Found
from tests.methods.made import OF_IMAGES as METHODS

SLOW = "2", "2 uneven", "3"
SOME = ["3 uneven", *(pytest.param(k, marks=pytest.mark.slow) for k in SLOW)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """One process with the whole batch."""
    return exactness.computed(SHARDS["1"], tmp_path_factory.mktemp("one") / "found.pt")


@pytest.fixture(scope="module", params=SOME)
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Found]:
    """What real processes computed, everything in one group of them."""
    return exactness.computed(SHARDS[request.param], tmp_path_factory.mktemp("gloo") / "found.pt")


@pytest.mark.parametrize("bits", BOUNDS)
@pytest.mark.parametrize("name", exactness.names())
def test_value_and_gradient(
    name: str, bits: str, one: dict[str, Found], many: dict[str, Found]
) -> None:
    assert max(exactness.error(many[bits][name], one[bits][name])) <= BOUNDS[bits]


@pytest.mark.parametrize("name", [n for n in exactness.names() if n.startswith(METHOD)])
def test_running_statistics(name: str, one: dict[str, Found], many: dict[str, Found]) -> None:
    """BatchNorm's and the probe's: those of the whole batch, and moved once a step."""
    key = f"{name} {BUFFERS}"
    assert max(exactness.error(many["64"][key], one["64"][key])) <= 1e-10


@pytest.mark.parametrize("name", METHODS)
def test_mini_batches_cost_no_reduction(name: str, many: dict[str, Found]) -> None:
    """The gradients of all chunks leave the process in one piece, as without chunks."""
    whole, chunked = (
        many["64"][f"{METHOD} {name}, group norm{way} {REDUCTIONS}"][0]
        for way in ("", ", 5 at a time")
    )
    assert whole == chunked == 1


def test_gradients_in_half_precision_are_rounded_once(
    request: pytest.FixtureRequest, many: dict[str, Found]
) -> None:
    """As on one process; rounded before the sum, each would lose its last bit."""
    processes = int(request.node.callspec.params["many"][0])
    exact = torch.tensor(sum(range(1, processes + 1)) * (1 + 2**-8), dtype=torch.bfloat16)
    assert (many["16"][HALVES][0] == exact).all()
    assert exact != sum(range(1, processes + 1))


def test_the_error_is_seen() -> None:
    """A gradient that lacks the factor W, the peers' usual fault, is not within any bound."""
    right = [torch.tensor(2.0), torch.randn(5, generator=torch.Generator().manual_seed(0)) * 3]
    assert exactness.error(right, right) == (0, 0)
    assert exactness.error([right[0], right[1] / 2], right)[1] == pytest.approx(0.5)
