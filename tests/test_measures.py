"""Measures of geometry against their sums written out, and on spectra and clouds that are known."""

from itertools import combinations
from math import exp, log

import pytest
import torch
from torch import Tensor

from cl.measures import alignment, effective_rank, embedding_std, uniformity


def of_spectrum(values: list[float], n: int = 12) -> Tensor:
    """Centered embeddings with these singular values."""
    left = torch.randn(n, len(values), dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(dim=0)).Q
    right = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right


def unit(z: Tensor) -> list[Tensor]:
    return [x / x.norm() for x in z.double()]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_effective_rank_counts_equal_directions(k: int) -> None:
    z = of_spectrum([3.0] * k + [0.0] * (6 - k))
    assert effective_rank(z).item() == pytest.approx(k, rel=1e-4)


def test_effective_rank_is_the_entropys_exponential() -> None:
    values = [4.0, 2.0, 1.0, 1.0]
    expected = exp(-sum(v / 8 * log(v / 8) for v in values))
    assert effective_rank(of_spectrum(values)).item() == pytest.approx(expected, rel=1e-5)


def test_effective_rank_ignores_place_and_size() -> None:
    z = of_spectrum([4.0, 2.0, 1.0])
    moved = 7 * z + torch.tensor([1.0, -2.0, 3.0])
    assert effective_rank(moved).item() == pytest.approx(effective_rank(z).item(), rel=1e-4)


def test_effective_rank_of_a_point_is_one() -> None:
    assert effective_rank(torch.ones(8, 4)).item() == pytest.approx(1)


@pytest.mark.parametrize("point", [[0.0, 0.0, 0.0], [1.0, 2.0, -3.0]])
def test_std_of_collapsed_is_zero(point: list[float]) -> None:
    assert embedding_std(torch.tensor([point] * 8)).item() == pytest.approx(0, abs=1e-6)


def test_std_ignores_lengths() -> None:
    z = torch.tensor([[1.0, 2.0, -3.0]]) * torch.arange(1.0, 9.0)[:, None]
    assert embedding_std(z).item() == pytest.approx(0, abs=1e-6)


def test_std_of_the_whole_sphere_is_one() -> None:
    assert embedding_std(torch.randn(20_000, 16)).item() == pytest.approx(1, rel=0.01)


def test_std_is_the_sum() -> None:
    z = torch.randn(9, 4)
    points = torch.stack(unit(z))
    variances = [sum((x - c.mean()) ** 2 for x in c) / 8 for c in points.T]
    expected = sum(float(v) ** 0.5 for v in variances) / 4 * 4**0.5
    assert embedding_std(z).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("views", [2, 3])
def test_alignment_is_the_sum(alpha: float, views: int) -> None:
    z = torch.randn(views, 9, 4)
    distances = [(a - b).norm() for a, b in zip(unit(z[0]), unit(z[1]), strict=True)]
    expected = sum(float(x) ** alpha for x in distances) / 9
    assert alignment(z, alpha=alpha).item() == pytest.approx(expected, rel=1e-5)


def test_alignment_of_equal_views_is_zero() -> None:
    z = torch.randn(9, 4)
    assert alignment(torch.stack([z, 3 * z])).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("t", [0.5, 2.0, 3.0])
def test_uniformity_is_the_sum(t: float) -> None:
    z = torch.randn(9, 4)
    kernels = [exp(-t * float((a - b).norm()) ** 2) for a, b in combinations(unit(z), 2)]
    expected = log(sum(kernels) / len(kernels))
    assert uniformity(z, t=t).item() == pytest.approx(expected, rel=1e-4)


def test_uniformity_of_a_point_is_zero() -> None:
    assert uniformity(torch.ones(6, 3)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_are_in_float32(dtype: torch.dtype) -> None:
    z = torch.randn(2, 9, 4).to(dtype)
    assert alignment(z) == alignment(z.float())
    for measure in (embedding_std, effective_rank, uniformity):
        assert measure(z[0]) == measure(z[0].float())
        assert measure(z[0]).dtype == torch.float32
