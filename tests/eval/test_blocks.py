"""Features in blocks: the same classifier and the same neighbors, however they are cut."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cl.eval import _blocks
from cl.eval._blocks import Blocks, deviation_and_mean
from cl.eval._probe import Standardization
from cl.eval._select import labeled
from cl.eval.logistic import fit_standardized

X, Y = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
PART = X[:600].float(), Y[:600]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """7 rows of digits in a block, none kept."""
    monkeypatch.setattr(_blocks, "BLOCK", 64 * 7)
    monkeypatch.setattr(_blocks, "KEPT", 0)


def test_moments_are_those_of_the_whole_in_float64(small_blocks: None) -> None:
    """Of features whose mean is a million deviations too, where a difference of squares is lost."""
    h = torch.from_numpy(np.random.default_rng(0).normal(1e6, 1, (500, 64)))
    h[:, 0] = 0.7
    deviation, mean = deviation_and_mean(h)
    np.testing.assert_allclose(mean, h.numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(deviation, h.numpy().std(0), rtol=1e-9, atol=1e-13)
    whole = torch.std_mean(PART[0], dim=0, correction=0)
    for ours, theirs in zip(deviation_and_mean(PART[0]), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_one_block_is_torchs_own_to_the_last_bit() -> None:
    for ours, theirs in zip(
        deviation_and_mean(PART[0]), torch.std_mean(PART[0], 0, correction=0), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_blocks_are_prepared_alike_whether_they_are_kept_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_blocks, "BLOCK", 64 * 7)
    scale = Standardization(PART[0])
    kept = Blocks(PART, 10, scale, torch.float32)
    monkeypatch.setattr(_blocks, "KEPT", 0)
    anew = Blocks(PART, 10, scale, torch.float32)
    assert len(kept.kept) == len([*anew]) == 86
    assert not anew.kept
    for of in (kept, anew):
        assert torch.equal(torch.cat([h for h, _ in of]), scale(PART[0]))
        assert torch.equal(torch.cat([labels for _, labels in of]), PART[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_logistic_regression_of_blocks_is_scikit_learns(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the objective; digits are whole numbers to 16, which float16 has exactly."""
    monkeypatch.setattr(_blocks, "BLOCK", 64 * 170)  # four blocks, the last one smaller
    monkeypatch.setattr(_blocks, "KEPT", 0)
    x, y = PART[0].double().numpy(), PART[1]
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, tol=1e-8))
    theirs.fit(x, y.numpy())
    ours = fit_standardized((PART[0].to(dtype), y), 10, l2=1 / 600, steps=500)

    def objective(logits: torch.Tensor, weight: torch.Tensor) -> float:
        loss = torch.nn.functional.cross_entropy(logits.double(), y)
        return float(loss + 0.5 / 600 * weight.double().square().sum())

    found = objective(ours(PART[0]), ours.fit.classifier.weight)
    logits, weight = theirs.decision_function(x), theirs[-1].coef_
    assert found == pytest.approx(objective(*map(torch.from_numpy, (logits, weight))), abs=1e-6)
    agree = ours(X[600:]).argmax(dim=1).numpy() == theirs.predict(X[600:].numpy())
    assert agree.mean() > 0.998


def test_what_is_not_finite_is_counted_over_all_blocks(small_blocks: None) -> None:
    h = PART[0].clone()
    h[[3, 250, 599], [0, 5, 63]] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    with pytest.raises(ValueError, match="the features of 3 of 600 images are not finite"):
        labeled((h, PART[1]))
