"""The coordinates of L-BFGS lead back to the weights, and make features nearly independent."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl.eval import _lbfgs as module
from cl.eval._blocks import Blocks
from cl.eval._lbfgs import ENOUGH, Preconditioner, run_lbfgs
from cl.eval.logistic import sample_losses

N, D, CLASSES, L2 = 600, 12, 4, 1e-3


def dependent(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Features of very different directions, as an encoder's are, of classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(D, D, generator=generator, dtype=torch.float64)
    scales = 10 ** torch.linspace(0, -2.5, D, dtype=torch.float64)
    h = torch.randn(N, D, generator=generator, dtype=torch.float64) * scales @ mixed
    logits = (h / h.std(dim=0))[:, :CLASSES]
    noise = -torch.empty_like(logits).exponential_(generator=generator).log()
    return (h / h.std(dim=0)).to(dtype), (logits + noise).argmax(dim=1)


def blocks_of(dtype: torch.dtype = torch.float64) -> Blocks:
    return Blocks(dependent(dtype), CLASSES, None, dtype)


def test_of_few_rows_the_coordinates_are_those_of_each_dimension() -> None:
    """A factor of many dimensions takes longer than the search that it shortens."""
    h, labels = dependent()
    few = Blocks((h[:3], labels[:3]), CLASSES, None, torch.float64)
    assert Preconditioner(few, 0.2, L2).factor.ndim == 1


@pytest.mark.parametrize("widest", [D + 1, D])
def test_a_place_is_the_weights_in_other_coordinates(
    widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many dimensions the coordinates are those of each alone."""
    monkeypatch.setattr(module, "WIDEST", widest)
    by = Preconditioner(blocks_of(), 0.2, L2)
    assert by.factor.ndim == (2 if widest == D + 1 else 1)
    weight = torch.randn(CLASSES, D + 1, dtype=torch.float64)
    place = by.place(weight).requires_grad_()
    found = by.weight(place)
    torch.testing.assert_close(found, weight)
    outer = torch.randn_like(weight)
    (expected,) = torch.autograd.grad(found, place, outer)
    torch.testing.assert_close(by.gradient(outer), expected)


def test_in_these_coordinates_the_hessian_is_nearly_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of one class at equal probabilities, up to the damping of its smallest curvatures."""
    monkeypatch.setattr(module, "ROWS", N)  # all of them
    blocks = blocks_of()
    by = Preconditioner(blocks, (1 - 1 / CLASSES) / CLASSES, L2)
    h = F.pad(blocks.h, (0, 1), value=1.0)

    def objective(weight: Tensor) -> Tensor:
        others = torch.zeros(N, CLASSES - 1, dtype=torch.float64)
        logits = torch.cat([h @ weight.T, others], dim=1)
        of_class = F.cross_entropy(logits, torch.zeros(N, dtype=torch.long))
        return of_class + L2 / 2 * weight[:, :-1].square().sum()

    zero = torch.zeros(1, D + 1, dtype=torch.float64)
    plain = torch.autograd.functional.hessian(objective, zero)[0, :, 0]
    found = torch.autograd.functional.hessian(lambda x: objective(by.weight(x)), zero)[0, :, 0]
    assert torch.linalg.eigvalsh(found).max() <= 1
    assert torch.linalg.cond(found) < torch.linalg.cond(plain) / 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dependent_features_take_few_iterations(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(widest: int) -> tuple[int, float, nn.Linear]:
        monkeypatch.setattr(module, "WIDEST", widest)
        classifier = nn.Linear(D, CLASSES, dtype=dtype)
        nn.init.zeros_(classifier.weight)
        nn.init.zeros_(classifier.bias)
        blocks = blocks_of(dtype)
        by = Preconditioner(blocks, 3 / 16, L2).to(dtype)
        found = run_lbfgs(classifier, blocks, sample_losses, l2=L2, by=by, steps=500)
        return *found, classifier

    few, gradient, one = search(D + 1)
    many, other_gradient, other = search(1)
    assert max(gradient, other_gradient) <= ENOUGH
    assert 2 * few < many
    torch.testing.assert_close(one.weight, other.weight, atol=2e-3, rtol=1e-3)
