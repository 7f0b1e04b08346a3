"""Losses and methods have the value and gradient of one process on two and three, even or not.

`make exactness` writes all the numbers, of four processes as well, into docs/exactness.md.
"""

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.distributed import exactness
from tests.distributed.exactness import BOUNDS, BUFFERS, HALVES, METHOD, REDUCTIONS, SHARDS, Found
from tests.methods.made import OF_IMAGES as METHODS

SLOW = "2", "2 uneven", "3"
SOME = ["3 uneven", *(pytest.param(k, marks=pytest.mark.slow) for k in SLOW)]


LOSSES = [name for name in exactness.names() if not name.startswith(METHOD)]
OF_METHODS = [name for name in exactness.names() if name.startswith(METHOD)]
MOST, REST = (partial(exactness.everything, methods_in=[bits]) for bits in ("64", "32"))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """One process with the whole batch."""
    return exactness.computed(SHARDS["1"], tmp_path_factory.mktemp("one") / "found.pt", MOST)


@pytest.fixture(scope="module", params=SOME)
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Found]:
    """What real processes computed, everything in one group of them."""
    file = tmp_path_factory.mktemp("gloo") / "found.pt"
    return exactness.computed(SHARDS[request.param], file, MOST)


@pytest.mark.parametrize(
    ("name", "bits"), [*((n, "64") for n in exactness.names()), *((n, "32") for n in LOSSES)]
)
def test_value_and_gradient(
    name: str, bits: str, one: dict[str, Found], many: dict[str, Found]
) -> None:
    assert max(exactness.error(many[bits][name], one[bits][name])) <= BOUNDS[bits]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [k for k in SHARDS if k[0] in "23"])
def test_methods_in_float32(sizes: str, tmp_path: Path) -> None:
    one = exactness.computed(SHARDS["1"], tmp_path / "one.pt", REST)["32"]
    many = exactness.computed(SHARDS[sizes], tmp_path / "many.pt", REST)["32"]
    errors = {name: max(exactness.error(many[name], one[name])) for name in OF_METHODS}
    assert {name: error for name, error in errors.items() if error > BOUNDS["32"]} == {}


@pytest.mark.parametrize("name", OF_METHODS)
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
