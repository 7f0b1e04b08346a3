"""LeJEPA against its formulas: loops over samples and directions, and closed forms."""

import cmath
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cl.data.batch import Batch
from cl.losses.lejepa import lejepa, sigreg
from cl.methods.lejepa import LeJEPA
from cl.nets.encoders import create


def draws(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def epps_pulley(x: list[float], knots: int, last: float = 3.0) -> float:
    """n times the integral over [-last, last], each point of it by itself."""
    points = [-last + i * last / (knots - 1) for i in range(2 * knots - 1)]
    values = []
    for t in points:
        phi = sum(cmath.exp(1j * t * each) for each in x) / len(x)
        gauss = math.exp(-(t**2) / 2)
        values.append(abs(phi - gauss) ** 2 * gauss)
    return len(x) * sum((a + b) / 2 for a, b in pairwise(values)) * last / (knots - 1)


def by_hand(z: Tensor, directions: Tensor, global_views: int, weight: float, knots: int) -> float:
    """The paper's: views predict the mean of the global ones, SIGReg is a mean over views."""
    v, n, d = z.shape
    distance = 0.0
    for i in range(n):
        mean = sum(z[w, i] for w in range(global_views)) / global_views
        distance += sum(float(((mean - z[w, i]) ** 2).sum()) for w in range(v)) / (v * n * d)
    tests = []
    for view in z:
        for a in directions:
            unit = a / a.square().sum().sqrt()
            tests.append(epps_pulley([float(x @ unit) for x in view], knots))
    return (1 - weight) * distance + weight * sum(tests) / len(tests)


@pytest.mark.parametrize("knots", [17, 5])
@pytest.mark.parametrize("global_views", [1, 2, 3])
def test_the_loss_is_the_papers(global_views: int, knots: int) -> None:
    z, directions = 2 * draws(3, 7, 4) + 0.3, 5 * draws(6, 4, seed=1)
    ours = lejepa(z, directions, global_views, sigreg_weight=0.3, knots=knots)
    right = by_hand(z, directions, global_views, 0.3, knots)
    assert ours.item() == pytest.approx(right, rel=1e-12)


def test_gradients_are_those_of_differences() -> None:
    z, directions = draws(2, 5, 3).requires_grad_(), draws(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda z: lejepa(z, directions, sigreg_weight=0.5), z)


def test_many_knots_are_the_closed_form() -> None:
    """Without bounds the integral is a sum over pairs (Epps and Pulley 1983, with this weight)."""
    x = draws(1, 40, 1)
    pairs = (x[0] - x[0].T).square()
    each = math.sqrt(2 * math.pi) * torch.exp(-pairs / 2).mean()
    cross = 2 * math.sqrt(math.pi) * torch.exp(-x.square() / 4).mean()
    whole = 40 * (each - cross + math.sqrt(2 * math.pi / 3))
    near = sigreg(x, torch.ones(1, 1, dtype=torch.float64), 2000)
    assert near.item() == pytest.approx(whole.item(), abs=0.15)  # the tails beyond 3
    assert near < whole


def test_gaussian_embeddings_are_nearer_than_others() -> None:
    directions = draws(32, 8, seed=1)
    gaussian = sigreg(draws(1, 512, 8), directions)
    others = (0.3 * draws(1, 512, 8), draws(1, 512, 8) + 1, torch.zeros(1, 512, 8).double())
    assert all(sigreg(z, directions) > 5 * gaussian for z in others)


def test_directions_are_new_each_step_and_the_same_again() -> None:
    """The random state of the process has no part in them."""
    torch.manual_seed(0)
    sizes = {"directions": 6, "hidden_mlp": 16, "encoding_size": 8}
    method = LeJEPA(create("resnet6_w8", 16), **sizes).eval()
    h, labels = torch.randn(2, 8, 32), torch.zeros(8, dtype=torch.long)
    first = method.objective(h, labels)
    torch.randn(3)
    assert torch.equal(method.objective(h, labels), first)
    type(method).step = property(lambda self: 1)
    try:
        assert not torch.equal(method.objective(h, labels), first)
    finally:
        del type(method).step


def test_small_views_predict_the_full_size_ones() -> None:
    seen: list[int] = []

    def loss(z: Tensor, directions: Tensor, global_views: int) -> Tensor:
        seen.append(global_views)
        return lejepa(z, directions, global_views)

    method = LeJEPA(create("resnet6_w8", 16), loss, directions=4, hidden_mlp=16, encoding_size=8)
    views = [torch.randn(2, 8, 3, 16, 16), torch.randn(3, 8, 3, 8, 8)]
    method.training_step(Batch(views, torch.zeros(8, dtype=torch.long), torch.arange(8)), 0)
    assert seen == [2]
