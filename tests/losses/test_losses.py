"""Every loss against its oracle, and what must hold for all of them; a new file joins by itself."""

import inspect
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cl.losses import NAMES, get_loss
from cl.losses._pairwise import contrast
from tests import references

TWO_VIEWS = {"clip", "barlow_twins"}
ONE_WAY = {"dcl", "dclw", "info_nce_angle", "mnrl"}  # the first view is another thing
WHOLE_BATCH = {"barlow_twins", "vicreg"}  # statistics of it, so neither rows nor ids


def parameters(name: str) -> list[str]:
    return list(inspect.signature(get_loss(name)).parameters)


BATCHED = [n for n in NAMES if parameters(n)[:3] == ["z", "ids", "rows"]]
ANGULAR = [n for n in BATCHED if n not in WHOLE_BATCH]  # of normalised embeddings


def made(v: int, n: int, d: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(v * 100 + n)
    return torch.randn(v, n, d, dtype=dtype).requires_grad_()


def heated(name: str, temperature: Any) -> Callable[..., Tensor]:
    """The loss at a temperature, if it has one."""
    settings = {"temperature": temperature} if "temperature" in parameters(name) else {}
    return lambda z, ids=None, rows=slice(None), **more: get_loss(name)(
        z, ids, rows, **settings | more
    )


def same_value_and_gradients(ours: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]) -> None:
    assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    found = torch.autograd.grad(ours, inputs, materialize_grads=True)
    right = torch.autograd.grad(expected, inputs, materialize_grads=True)
    assert_close(found, right, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize(("v", "n"), [(1, 5), (2, 1), (2, 2), (2, 7), (3, 4)])
@pytest.mark.parametrize("supervised", [False, True])
def test_value_and_gradients_are_the_oracles(name: str, v: int, n: int, supervised: bool) -> None:
    if (name in TWO_VIEWS and v != 2) or (v == 1 and name not in references.PUSHED):
        pytest.skip("not for so many views")
    if name in WHOLE_BATCH and n == 1:
        pytest.skip("one sample has no variance")
    z, t = made(v, n), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = torch.arange(n) % 3 if supervised else None
    expected = references.ORACLES[name](z, ids, t)
    same_value_and_gradients(heated(name, t)(z, ids), expected, (z, t))


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sigmoids_weights_and_penalty(alpha: float, gamma: float) -> None:
    z, t = made(3, 5), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ours = get_loss("sigmoid")(z, temperature=t, alpha=alpha, gamma=gamma)
    same_value_and_gradients(ours, references.sigmoid(z, None, t, alpha, gamma), (z, t))


@pytest.mark.parametrize("name", ["sigmoid", "relic"])
def test_a_target_takes_the_place_of_the_other_views(name: str) -> None:
    """Every view meets the targets of the others; the target encoder's side counts for itself."""
    z, target, loss = made(3, 5), made(2, 6)[:, :5].detach(), get_loss(name)
    pairs = [(v, w) for v in range(3) for w in range(2) if v != w]
    each = [
        loss(torch.stack([target[w], z[v]]), None, slice(None), target[w][None]) for v, w in pairs
    ]
    assert_close(loss(z, None, slice(None), target), torch.stack(each).mean())


RULES = {
    "nt_xent": lambda p: ~p.itself,
    "info_nce": lambda p: ~p.same_view,
    "dcl_symmetric": lambda p: ~p.same_id,
    "dhel": lambda p: p.same_view & ~p.same_id,
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("block", [1, 3, 4])
@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("temperature", [0.2, 0.01])
def test_blocks_are_the_whole(name: str, block: int, supervised: bool, temperature: float) -> None:
    z, ids = made(3, 10), torch.arange(10) % 4 if supervised else None
    values = [contrast(z, ids, slice(None), temperature, RULES[name], block=b) for b in (block, 99)]
    assert_close(*values, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(x, z)[0] for x in values]
    assert_close(*gradients, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ANGULAR)
def test_every_loss_is_its_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    z, t = made(2, 10), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    whole = heated(name, t)(z)
    monkeypatch.setattr("cl.losses._pairwise.CPU_BLOCK", 3)
    same_value_and_gradients(heated(name, t)(z), whole, (z, t))


@pytest.mark.parametrize("name", BATCHED)
def test_rows_average_to_the_whole(name: str) -> None:
    z, ids = made(2, 9), torch.arange(9) % 4
    loss = heated(name, 0.2)
    for known in (None, ids):
        parts = torch.stack([loss(z, known, slice(i, i + 3)) for i in (0, 3, 6)])
        same_value_and_gradients(parts.mean(), loss(z, known), (z,))


@pytest.mark.parametrize("name", BATCHED)
def test_order_of_samples_and_rotation_do_not_matter(name: str) -> None:
    z, loss = made(2, 9).detach(), heated(name, 0.2)
    assert_close(loss(z[:, torch.randperm(9)]), loss(z))
    if name not in WHOLE_BATCH:
        rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
        assert_close(loss(z @ rotation), loss(z))
        assert_close(loss(3 * z), loss(z))


@pytest.mark.parametrize("name", [n for n in BATCHED if n not in ONE_WAY | TWO_VIEWS])
def test_order_of_views_does_not_matter(name: str) -> None:
    z, loss = made(3, 4).detach(), heated(name, 0.2)
    for order in permutations(range(3)):
        assert_close(loss(z[list(order)]), loss(z))


@pytest.mark.parametrize("name", BATCHED)
def test_gradcheck(name: str) -> None:
    z, t = made(2, 4, 3), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    whole = {"through_weights": True} if name == "dclw" else {}
    assert torch.autograd.gradcheck(lambda z, t: heated(name, t)(z, **whole), (z, t))


KINDS = {
    "random": lambda: torch.randn(2, 16, 8),
    "identical": lambda: torch.ones(2, 16, 8),
    "zero": lambda: torch.zeros(2, 16, 8),
    "aligned": lambda: torch.randn(1, 16, 8).repeat(2, 1, 1),
}


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_and_right(name: str, kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z = KINDS[kind]().to(dtype).requires_grad_()
    for temperature in (0.005, 0.05, 0.5, 10.0):
        loss = heated(name, temperature)(z)
        (gradient,) = torch.autograd.grad(loss, z)
        assert torch.isfinite(gradient).all(), temperature
        exact = heated(name, temperature)(z.detach().double())
        assert_close(loss.detach().double(), exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", BATCHED)
def test_autocast_changes_nothing(name: str) -> None:
    z = made(2, 8, dtype=torch.float32)
    plain = heated(name, 0.2)(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = heated(name, 0.2)(z)
    assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("positives", ["out", "in", "in_sum", "single"])
@pytest.mark.parametrize("skip_empty", [False, True])
def test_supcons_rows_average_to_the_whole(positives: str, skip_empty: bool) -> None:
    z, ids = made(1, 9), torch.tensor([0, 0, 0, 1, 1, 5, 6, 7, 8])
    settings = {"positives": positives, "skip_empty": skip_empty}
    parts = [get_loss("supcon")(z, ids, slice(i, i + 3), **settings) for i in (0, 3, 6)]
    same_value_and_gradients(
        torch.stack(parts).mean(), get_loss("supcon")(z, ids, **settings), (z,)
    )


def test_global_views_are_all_there_is_to_compare_with() -> None:
    z = made(4, 3)
    ours, scores = get_loss("nt_xent")(z, global_views=2), []
    u = references.unit(z)
    for v in range(4):
        for i in range(3):
            others = [(w, j) for w in range(2) for j in range(3) if (w, j) != (v, i)]
            push = references.lse([(u[v, i] * u[w, j]).sum() / 0.2 for w, j in others])
            pull = [(u[v, i] * u[w, j]).sum() / 0.2 for w, j in others if i == j]
            scores.append(push - references.mean(pull))
    same_value_and_gradients(ours, references.mean(scores), (z,))


@pytest.mark.parametrize("name", ["angle", "cosent"])
def test_ranks_are_the_double_sum(name: str) -> None:
    z, scores = made(2, 9, 6), torch.tensor([0.0, 0.2, 0.2, 1.0, 0.5, 0.0, 0.7, 0.2, 1.0])
    u, v = references.unit(z)
    a = (u * v).sum(-1)
    if name == "angle":
        u, v = (torch.complex(x[:, :3], x[:, 3:]) for x in (u, v))
        quotient = u * v.conj()
        a = (quotient.real.sum(-1) + quotient.imag.sum(-1)).abs()
    terms = [0 * a.sum()]
    terms += [3 * (a[i] - a[j]) for i in range(9) for j in range(9) if scores[i] < scores[j]]
    same_value_and_gradients(get_loss(name)(z, scores, scale=3.0), references.lse(terms), (z,))


def test_looc_is_the_double_sum() -> None:
    """A query's own key against every key of every sample, and in the first space a plain one."""
    z = made(8, 3).unflatten(0, (2, 4)).detach().requires_grad_()
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def space(s: int, query: int, keys: list[int]) -> Tensor:
        """The first of the keys is the positive."""
        u, scores = references.unit(z), []
        for i in range(3):
            against = [(u[s, query, i] * u[s, k, j]).sum() / t for k in keys for j in range(3)]
            own = (u[s, query, i] * u[s, keys[0], i]).sum() / t
            scores.append(references.lse(against) - own)
        return references.mean(scores)

    def expected() -> Tensor:
        first = (space(0, 0, [1]) + space(0, 3, [1])) / 2
        return (first + space(1, 0, [2, 1])) / 2

    same_value_and_gradients(get_loss("looc")(z, temperature=t), expected(), (z, t))
    parts = [get_loss("looc")(z, slice(i, i + 1), temperature=t) for i in range(3)]
    same_value_and_gradients(torch.stack(parts).mean(), expected(), (z, t))
    with pytest.raises(ValueError, match="2 spaces need 3 views, not 2"):
        get_loss("looc")(z[:, :2])


@pytest.mark.parametrize("memory", ["NTXentLoss", "DCLLoss"])
def test_lightlys_losses_agree(memory: str) -> None:
    losses = pytest.importorskip("lightly.loss", reason="lightly is not installed")
    z = made(2, 12, dtype=torch.float32).detach()
    theirs = getattr(losses, memory)(temperature=0.2)(z[0], z[1])
    ours = get_loss("nt_xent" if memory == "NTXentLoss" else "dcl_symmetric")(z, temperature=0.2)
    assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_cosine_is_torchs() -> None:
    p, z = made(2, 6), made(2, 7)[:, :6].detach()
    expected = -torch.nn.functional.cosine_similarity(p, z, dim=-1).mean()
    assert_close(get_loss("cosine")(p, z), expected)


def test_embeddings_that_are_one_have_a_gradient() -> None:
    """Where a root has none."""
    z = torch.ones(3, 4, 5, requires_grad=True)
    for loss in (
        get_loss("triplet")(z),
        get_loss("margin")(z[:2], torch.tensor([True, False] * 2)),
    ):
        assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_one_view_has_no_positives_of_its_own() -> None:
    for name in ("mv_dhel", "mv_infonce"):
        with pytest.raises(ValueError, match="two views"):
            get_loss(name)(made(1, 4))
