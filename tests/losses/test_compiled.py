"""Losses of a few float32 embeddings, which are compiled loops, beside oracles in float64."""

import threading
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cl.losses import get_loss
from cl.losses._function import Times
from tests import references
from tests.losses.test_losses import functions_of

NAMES = ("nt_xent", "supcon", "dcl", "dcl_symmetric", "clip", "info_nce", "info_nce_angle", "mnrl")
LABELED = tuple(name for name in NAMES if name not in {"info_nce_angle", "mnrl"})
OTHER_ANCHORS = [("info_nce", {"symmetric": False}), ("info_nce_angle", {"symmetric": True})]
IDS = torch.tensor([0, 1, 1, 2, 3, 3, 3, 4, 5]), torch.zeros(9, dtype=torch.long)  # no negatives
NODE = "CompiledLoss"


def embeddings(v: int = 2, n: int = 7, d: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(v * 100 + n)
    return torch.randn(v, n, d, generator=generator).requires_grad_()


def gradients(value: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, inputs, materialize_grads=True)


def assert_near(ours: Tensor, expected: Tensor, *inputs: tuple[Tensor, Tensor]) -> None:
    """The value and the gradients by pairs of an input in float32 and the same in float64."""
    assert_close(ours.double(), expected, rtol=1e-6, atol=1e-6)
    own, others = zip(*inputs, strict=True)
    for found, right in zip(gradients(ours, *own), gradients(expected, *others), strict=True):
        assert found.dtype == torch.float32
        assert_close(found.double(), right, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("v", "n"), [(1, 5), (2, 2), (2, 7), (3, 4)])
@pytest.mark.parametrize("supervised", [False, True])
def test_value_and_gradients_equal_the_oracle(name: str, v: int, n: int, supervised: bool) -> None:
    if (name in {"clip", "info_nce_angle", "mnrl"} and v != 2) or (supervised > (name in LABELED)):
        pytest.skip("not of these views, or not without masks of its own")
    z, t = embeddings(v, n), torch.tensor(0.3, requires_grad=True)
    y, s = (x.detach().double().requires_grad_() for x in (z, t))
    ids = torch.arange(n) % 3 if supervised else None
    ours = get_loss(name)(z, ids, temperature=t)
    assert NODE in functions_of(ours)
    assert_near(ours, references.ORACLES[name](y, ids, s), (z, y), (t, s))


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), *OTHER_ANCHORS])
@pytest.mark.parametrize("temperature", [1.0, 0.06, 0.004])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 7), slice(0, 1)])
def test_any_rows_at_any_temperature_are_the_engine(
    name: str,
    options: dict[str, Any],
    temperature: float,
    rows: slice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Local anchors of several processes, and positives that hold nearly all of their sum."""
    z = embeddings(2, 9)
    with torch.no_grad():
        z[1, :2] = 3 * z[0, :2] + 1e-3 * z[1, :2]
    y = z.detach().double().requires_grad_()
    for ids in (None, *IDS) if name in LABELED else (None,):
        ours = get_loss(name)(z, ids, rows, temperature=temperature, **options)
        assert NODE in functions_of(ours)
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
            patch.setattr("cl.losses._pairwise.is_one_function", lambda _: False)
            expected = get_loss(name)(y, ids, rows, temperature=temperature, **options)
        assert "Loss" not in functions_of(expected)
        (found,), (right,) = gradients(ours, z), gradients(expected, y)
        assert_close(ours.double(), expected, rtol=3e-6, atol=1e-38)
        # the sine of two views' angle is as exact as their difference in float32
        atol = right.abs().max().item() * (1e-3 if name == "info_nce_angle" else 2e-6)
        assert_close(found.double(), right, rtol=1e-4, atol=atol + 1e-38)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("dcl")])
def test_small_losses_are_accurate(name: str) -> None:
    """exp(-12) of another sample is a loss of 6e-6, which no difference of logarithms has."""
    z = torch.eye(2, 6).expand(2, 2, 6).clone().requires_grad_()
    options = {"margin": 0.0} if name == "info_nce_angle" else {}
    y = z.detach().double().requires_grad_()
    ours, right = (get_loss(name)(x, temperature=1 / 12, **options) for x in (z, y))
    assert (NODE in functions_of(ours)) is (name != "info_nce_angle")
    assert 0 < ours < 2e-5
    assert_close(ours.double(), right, rtol=1e-6, atol=0)
    assert_close(gradients(ours, z)[0].double(), gradients(right, y)[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_of_any_length(name: str) -> None:
    lengths = torch.tensor([1e-30, 1e30, 1e-18, 1.0, 1e19, 3.0])[:, None]
    u = torch.nn.functional.normalize(embeddings(2, 6).detach(), dim=-1)
    loss = partial(get_loss(name), temperature=0.2)
    for zeros in (False, True):
        if zeros:
            u[0, 3] = 0
        one, z = u.clone().requires_grad_(), (u * lengths).requires_grad_()
        ours, expected = loss(z), loss(one)
        assert_close(ours, expected)
        (found,), (right,) = gradients(ours, z), gradients(expected, one)
        assert_close(found * lengths, right, rtol=1e-4, atol=1e-6)
        assert not (zeros and found[0, 3].any())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_number_stays_so(name: str) -> None:
    for bad in (torch.nan, torch.inf):
        z = embeddings().detach()
        z[0, 2, 1] = bad
        z.requires_grad_()
        value = get_loss(name)(z, temperature=0.2)
        assert value.isnan()
        assert gradients(value, z)[0].isnan().any()


@pytest.mark.parametrize("name", NAMES)
def test_only_some_inputs_want_a_gradient(name: str) -> None:
    z, t = embeddings(), torch.tensor(0.3, requires_grad=True)
    loss = get_loss(name)
    value = loss(z, temperature=t)
    both = gradients(value, z, t)
    assert_close(gradients(loss(z, temperature=t.detach()), z)[0], both[0])
    assert_close(gradients(loss(z.detach(), temperature=t), t)[0], both[1])
    assert not loss(z.detach(), temperature=0.3).requires_grad
    with torch.inference_mode():
        assert torch.equal(loss(z, temperature=t), value)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_transforms_and_lower_precision(name: str) -> None:
    z, loss = embeddings(), partial(get_loss(name), temperature=0.2)
    value = loss(z)
    (gradient,) = torch.autograd.grad(value, z, create_graph=True)
    assert type(gradient.grad_fn).__name__.startswith(Times.__name__)
    with pytest.raises(NotImplementedError, match="this loss has no second derivatives"):
        gradient.sum().backward()
    x = z.detach()
    assert_close(torch.func.grad(loss)(x), gradient.detach())
    batch = torch.stack([x, x.flip(1)])
    assert_close(torch.func.vmap(loss)(batch), torch.stack([loss(each) for each in batch]))
    low = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(low)
    assert value.dtype == torch.float32
    assert NODE in functions_of(value)
    assert_close(value, loss(low.detach().float()))
    assert gradients(value, low)[0].dtype == torch.bfloat16


def test_strides_and_kinds_of_ids() -> None:
    z, ids = embeddings(2, 8, 12), torch.arange(16).view(8, 2).T[1] // 4
    expected = get_loss("supcon")(z.detach().contiguous(), ids.contiguous())
    for x in (z.mT.contiguous().mT, torch.cat([z, z], dim=2)[:, :, 12:]):
        for same in (ids, ids.int()):
            assert torch.equal(get_loss("supcon")(x, same), expected)


def test_threads_do_not_disturb_each_other() -> None:
    batches = [embeddings(2, 8 + i) for i in range(4)]
    expected = [get_loss("nt_xent")(z).item() for z in batches]
    found: list[list[float]] = [[] for _ in batches]

    def work(i: int) -> None:
        found[i] += [get_loss("nt_xent")(batches[i]).item() for _ in range(50)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[value] * 50 for value in expected]


@pytest.mark.parametrize(
    ("name", "ids", "samples", "compiled"),
    [
        ("nt_xent", False, 64, True),
        ("nt_xent", False, 65, False),
        ("nt_xent", True, 128, True),
        ("nt_xent", True, 129, False),
        ("mnrl", False, 128, True),
        ("mnrl", False, 129, False),
    ],
)
def test_the_size_of_all_processes_decides(
    name: str, ids: bool, samples: int, compiled: bool
) -> None:
    z, given = embeddings(2, samples), torch.arange(samples) if ids else None
    for rows in (slice(None), slice(0, 3)):
        value = get_loss(name)(z, given, rows, temperature=0.2)
        assert (NODE in functions_of(value)) is compiled
    assert NODE not in functions_of(get_loss(name)(z.double(), given, temperature=0.2))


@pytest.mark.parametrize("name", ["cosent", "angle"])
@pytest.mark.parametrize("d", [6, 7])
def test_a_matrix_of_differences_is_the_sorted_sum(
    name: str, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = embeddings(2, 20, d).detach().double().requires_grad_()
    scores: Any = torch.arange(20) * 7 % 5 / 4
    for scale in (1.0, 20.0, 30.0):
        loss = partial(get_loss(name), z, scores, scale=scale)
        whole = loss()
        assert "RankingLoss" in functions_of(whole)
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses.cosent.MAX_RANKED", 0)
            blocks = loss()
        assert "RankingLoss" not in functions_of(blocks)
        assert_close(whole, blocks, rtol=1e-10, atol=1e-12)
        assert_close(gradients(whole, z), gradients(blocks, z), rtol=1e-8, atol=1e-10)
    assert "RankingLoss" not in functions_of(get_loss(name)(z, scores, scale=30.1))
    assert get_loss(name)(z, torch.zeros(20)) == 0
