"""Every loss against its oracle, and what must hold for all of them; a new file joins by itself."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from cl.losses import NAMES, get_loss
from cl.losses._contrast import contrast
from cl.losses.barlow_twins import barlow_twins
from cl.losses.cosine import cosine
from tests import references

PAIRWISE = [n for n in NAMES if n not in ("barlow_twins", "cosine")]
SYMMETRIC = [n for n in PAIRWISE if n != "dcl"]


def made(v: int, n: int, d: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(v * 100 + n)
    return torch.randn(v, n, d, dtype=dtype).requires_grad_()


def test_every_pairwise_loss_has_an_oracle() -> None:
    assert set(PAIRWISE) == set(references.PUSHED)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize(("v", "n"), [(1, 5), (2, 1), (2, 2), (2, 7), (3, 4)])
@pytest.mark.parametrize("supervised", [False, True])
def test_value_and_gradients_are_the_oracles(name: str, v: int, n: int, supervised: bool) -> None:
    z, t = made(v, n), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = torch.arange(n) % 3 if supervised else None
    ours = get_loss(name)(z, ids, temperature=t)
    expected = references.pairwise(name, z, ids, t)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    found = torch.autograd.grad(ours, (z, t))
    right = torch.autograd.grad(expected, (z, t), allow_unused=True)
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(
            a, torch.zeros_like(a) if b is None else b, atol=1e-10, rtol=1e-9
        )


RULES = {
    "nt_xent": lambda p: ~p.itself,
    "info_nce": lambda p: ~p.same_view,
    "dcl_symmetric": lambda p: ~p.same_id,
    "dhel": lambda p: p.same_view & ~p.same_id,
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("block", [1, 3, 4])
@pytest.mark.parametrize("supervised", [False, True])
def test_blocks_are_the_whole(name: str, block: int, supervised: bool) -> None:
    z, ids = made(3, 10), torch.arange(10) % 4 if supervised else None
    values = [contrast(z, ids, slice(None), 0.2, RULES[name], block=b) for b in (block, 1024)]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(x, z)[0] for x in values]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PAIRWISE)
def test_rows_average_to_the_whole(name: str) -> None:
    z, loss = made(2, 9), get_loss(name)
    parts = [loss(z, None, slice(i, i + 3)) for i in (0, 3, 6)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PAIRWISE)
def test_order_of_samples_and_rotation_do_not_matter(name: str) -> None:
    z, loss = made(2, 9).detach(), get_loss(name)
    torch.testing.assert_close(loss(z[:, torch.randperm(9)]), loss(z))
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(loss(z @ rotation), loss(z))


@pytest.mark.parametrize("name", SYMMETRIC)
def test_order_of_views_does_not_matter(name: str) -> None:
    z, loss = made(3, 4).detach(), get_loss(name)
    for order in permutations(range(3)):
        torch.testing.assert_close(loss(z[list(order)]), loss(z))


@pytest.mark.parametrize("name", PAIRWISE)
def test_gradcheck(name: str) -> None:
    z, t = made(2, 4, 3), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, t: get_loss(name)(z, temperature=t), (z, t))


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [0.005, 0.05, 0.5, 10.0])
@pytest.mark.parametrize("kind", ["random", "identical", "zero"])
def test_finite_and_right(name: str, dtype: torch.dtype, temperature: float, kind: str) -> None:
    torch.manual_seed(0)
    z = {"random": torch.randn(2, 16, 8), "identical": torch.ones(2, 16, 8)}.get(
        kind, torch.zeros(2, 16, 8)
    )
    z = z.to(dtype).requires_grad_()
    loss = get_loss(name)(z, temperature=temperature)
    loss.backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    exact = get_loss(name)(z.detach().double(), temperature=temperature)
    torch.testing.assert_close(loss.detach().double(), exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", PAIRWISE)
def test_autocast_changes_nothing(name: str) -> None:
    z = made(2, 8, dtype=torch.float32)
    plain = get_loss(name)(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = get_loss(name)(z)
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("memory", ["NTXentLoss", "DCLLoss"])
def test_lightlys_losses_agree(memory: str) -> None:
    losses = pytest.importorskip("lightly.loss", reason="lightly is not installed")
    z = made(2, 12, dtype=torch.float32).detach()
    theirs = getattr(losses, memory)(temperature=0.2)(z[0], z[1])
    ours = get_loss("nt_xent" if memory == "NTXentLoss" else "dcl_symmetric")(z, temperature=0.2)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_barlow_twins_is_the_double_sum() -> None:
    z = made(2, 9)
    ours, expected = barlow_twins(z, lamb=0.01), references.barlow_twins(z, 0.01)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, z)[0] for x in (ours, expected)), rtol=1e-9, atol=1e-10
    )


def test_cosine_is_torchs() -> None:
    p, z = made(2, 6), made(2, 7)[:, :6].detach()
    expected = -torch.nn.functional.cosine_similarity(p, z, dim=-1).mean()
    torch.testing.assert_close(cosine(p, z), expected)
