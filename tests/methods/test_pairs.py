"""The methods of single pairs against loops over views, anchors and negatives, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cl.config.parse import parse_pretrain
from cl.config.store import ConfigError
from cl.losses import get_loss
from cl.methods import NAMES, get_method
from cl.methods._pairs import PairMethod, mine_negatives

N, D, DIM = 6, 10, 8
PAIRS = [name for name in NAMES if issubclass(get_method(name), PairMethod)]


class Identity(nn.Identity):
    num_features = D


def chosen(mining: str, anchor: Tensor, positive: Tensor, others: list[Tensor]) -> list[Tensor]:
    """The negatives of one anchor, by distances."""
    anchor, positive = anchor.detach(), positive.detach()
    far = [float((anchor - other.detach()).norm()) for other in others]
    if mining == "all":
        return others
    beyond = [d for d in far if d > float((anchor - positive).norm())]
    wanted = min(far) if mining == "hard" else min(beyond) if beyond else max(far)
    return [others[far.index(wanted)]]


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def triplet(anchors: list[tuple[Tensor, Tensor, list[Tensor]]]) -> Tensor:
    each = [
        ((a - p + 1e-6).norm() - (a - n + 1e-6).norm() + 1.0).clamp(min=0)
        for a, p, ns in anchors
        for n in ns
    ]
    return mean(each)


def margin(anchors: list[tuple[Tensor, Tensor, list[Tensor]]]) -> Tensor:
    near = mean([(a - p).square().sum() for a, p, _ in anchors])
    far = mean([(1 - (a - n).norm()).clamp(min=0) ** 2 for a, _, ns in anchors for n in ns])
    return (near + far) / 2


def nce(anchors: list[tuple[Tensor, Tensor, list[Tensor]]]) -> Tensor:
    data = mean([-torch.sigmoid(a @ p / 0.1).log() for a, p, _ in anchors])
    noise = mean([-torch.sigmoid(-a @ n / 0.1).log() for a, _, ns in anchors for n in ns])
    return data + noise


def ranked(
    alike: Callable[[Tensor, Tensor], Tensor], anchors: list[tuple[Tensor, Tensor, list[Tensor]]]
) -> Tensor:
    """Of each pair of a positive pair and a negative one, the difference of the two."""
    high = [alike(a, p) for a, p, _ in anchors]
    low = [alike(a, n) for a, _, ns in anchors for n in ns]
    return (1 + sum(torch.exp(20 * (y - x)) for x in high for y in low)).log()


def quotient(u: Tensor, v: Tensor) -> Tensor:
    """AnglE's similarity: the halves are real and imaginary parts."""
    u, v = (torch.complex(*x.chunk(2)) for x in (u, v))
    w = u * v.conj()
    return (w.real.sum() + w.imag.sum()).abs()


ORACLES = {
    "triplet": triplet,
    "margin": margin,
    "nce": nce,
    "cosent": lambda anchors: ranked(torch.dot, anchors),
    "angle": lambda anchors: ranked(quotient, anchors),
}


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
@pytest.mark.parametrize("name", PAIRS)
def test_objectives_are_loops(name: str, mining: str) -> None:
    torch.manual_seed(0)
    options = {"mining": mining, "hidden_mlp": 16, "encoding_size": DIM}
    method = get_method(name)(Identity(), **options).double()
    h = torch.randn(3, N, D, dtype=torch.float64).requires_grad_()
    method.global_views = 2
    z = nn.functional.normalize(method.projector(h.flatten(0, 1)), dim=1).unflatten(0, (3, N))
    losses = []
    for v, w in ((1, 0), (2, 0), (0, 1), (2, 1)):
        anchors = []
        for i in range(N):
            others = [z[w, j] for j in range(N) if j != i]
            anchors.append((z[v, i], z[w, i], chosen(mining, z[v, i], z[w, i], others)))
        losses.append(ORACLES[name](anchors))
    ours = method.objective(h, torch.zeros(N, dtype=torch.long))
    torch.testing.assert_close(ours, mean(losses), rtol=1e-9, atol=1e-10)
    found, right = (torch.autograd.grad(x, h, retain_graph=True)[0] for x in (ours, mean(losses)))
    torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-9)


def test_nce_is_computed_in_float32_under_autocast() -> None:
    method = get_method("nce")(Identity(), hidden_mlp=16, encoding_size=DIM)
    a, p, n = (nn.functional.normalize(torch.randn(64, k, DIM), dim=2) for k in (1, 1, 63))
    expected = method.compare(a[:, 0], p[:, 0], n)
    with torch.autocast("cpu", torch.bfloat16):
        found = method.compare(a[:, 0], p[:, 0], n)
    assert torch.equal(found, expected)


def test_a_temperature_of_nce_is_above_0() -> None:
    with pytest.raises(ConfigError, match="--temperature must be above 0, not -1"):
        parse_pretrain("digits resnet6_w8 --method nce --temperature -1".split())
    with pytest.raises(ConfigError, match="--t must be above 0, not -1"):
        parse_pretrain("digits resnet6_w8 --loss kcl --t -1".split())
    method = get_method("nce")(Identity(), hidden_mlp=16, encoding_size=DIM, temperature=-1.0)
    with pytest.raises(ValueError, match="temperature must be above 0, not -1"):
        method.objective(torch.randn(2, N, D), torch.zeros(N, dtype=torch.long))


@pytest.mark.parametrize(("name", "alike"), [("cosent", torch.dot), ("angle", quotient)])
def test_the_pairs_of_the_data_are_ranked_by_their_scores(
    name: str, alike: Callable[[Tensor, Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    method = get_method(name)(Identity(), hidden_mlp=16, encoding_size=DIM).double()
    h = torch.randn(2, N, D, dtype=torch.float64).requires_grad_()
    y = [0.0, 2.5, 2.5, 5.0, 1.0, 0.0]
    z = nn.functional.normalize(method.projector(h.flatten(0, 1)), dim=1).unflatten(0, (2, N))
    a = [alike(z[0, i], z[1, i]) for i in range(N)]
    wrong = [torch.exp(20 * (a[i] - a[j])) for i in range(N) for j in range(N) if y[i] < y[j]]
    right = (1 + torch.stack(wrong).sum()).log()
    method.scores = torch.tensor(y)
    ours = method.objective(h, torch.arange(N))
    torch.testing.assert_close(ours, right, rtol=1e-9, atol=1e-10)
    found, expected = (torch.autograd.grad(x, h, retain_graph=True)[0] for x in (ours, right))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    method.scores = torch.ones(N)  # nothing is ranked
    none = method.objective(h, torch.arange(N))
    assert none == 0
    assert not torch.autograd.grad(none, h)[0].any()


def test_a_semi_hard_negative_is_farther_than_the_positive() -> None:
    """Angles in degrees; of the first two anchors' negatives one, then none, is farther."""
    angles = torch.tensor([[0.0, 90.0, 200.0], [50.0, 60.0, 250.0]]) / 180 * math.pi
    a, b = torch.stack([angles.cos(), angles.sin()], dim=2)
    (first,), (second,) = mine_negatives(a, b, slice(0, 2), "semi_hard")
    assert torch.equal(first, b[1])  # at 60, beyond the positive at 50, nearer than 250
    assert torch.equal(second, b[0])  # 40 from 90, beyond the positive at 30
    lonely = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    far = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    assert torch.equal(mine_negatives(lonely, far, slice(0, 1), "semi_hard")[0, 0], far[2])


def test_one_sample_has_no_negatives() -> None:
    with pytest.raises(ValueError, match="larger --batch_size"):
        mine_negatives(torch.ones(1, 2), torch.ones(1, 2), slice(None), "hard")


def test_every_loss_is_that_of_a_method_or_of_any() -> None:
    """So that each has a command."""
    from cl.config.signature import computed
    from cl.losses import NAMES as LOSSES

    assert computed() == {*LOSSES}
    assert all(callable(get_loss(name)) for name in LOSSES)
