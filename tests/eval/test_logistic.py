"""Logistic regression against scikit-learn's optimum, on real digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cl.eval import logistic as module
from cl.eval.logistic import fit_classifier, fit_standardized, logistic

PARTS = slice(0, 1200), slice(1200, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_optimum_is_scikit_learns(dtype: torch.dtype) -> None:
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    h, labels = torch.from_numpy(x).to(dtype), torch.from_numpy(y)
    ours = fit_classifier(h, labels, 10, l2=1 / len(x), steps=500).classifier
    theirs = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8).fit(x, y)

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = torch.from_numpy(x @ weight.T + bias)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return float(loss) + 0.5 / len(x) * float((weight**2).sum())

    found = objective(ours.weight.numpy(), ours.bias.numpy())
    best = objective(theirs.coef_, theirs.intercept_)
    assert found == pytest.approx(best, abs=1e-6)


def test_float32_ends_at_the_optimum_too() -> None:
    """A float32 mean of the losses ended the search 2e-6 above it here."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 64)) @ rng.normal(size=(64, 64))
    x /= x.std(0)
    labels = torch.from_numpy(
        (0.3 * x @ rng.normal(size=(64, 10)) + rng.gumbel(size=(5000, 10))).argmax(1)
    )

    def objective(dtype: torch.dtype) -> float:
        h = torch.from_numpy(x).to(dtype)
        found = fit_classifier(h, labels, 10, l2=1 / len(x), steps=2000).classifier.double()
        loss = torch.nn.functional.cross_entropy(found(h.double()), labels)
        return float(loss + 0.5 / len(x) * found.weight.square().sum())

    assert objective(torch.float32) == pytest.approx(objective(torch.float64), abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [1.0, 0.01])
def test_weak_regularisation_ends_at_scikit_learns_optimum(
    dtype: torch.dtype, noise: float
) -> None:
    """With classes that overlap; with little noise the 48 features are nearly six."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 6)) @ rng.normal(size=(6, 48)) + noise * rng.normal(size=(1500, 48))
    x /= x.std(0)
    y = (x[:, :10] + rng.gumbel(size=(1500, 10))).argmax(1)
    l2 = 1 / (100 * len(x))
    theirs = LogisticRegression(C=100, max_iter=50_000, tol=1e-8).fit(x, y)

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = torch.from_numpy(x @ weight.T + bias)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
        return float(loss) + l2 / 2 * float((weight**2).sum())

    found = fit_classifier(
        torch.from_numpy(x).to(dtype), torch.from_numpy(y), 10, l2=l2, steps=10_000
    )
    ours = objective(found.classifier.weight.double().numpy(), found.classifier.bias.numpy())
    assert ours == pytest.approx(objective(theirs.coef_, theirs.intercept_), abs=1e-6)
    assert found.gradient < module.SMALL


def test_a_search_that_is_cut_short_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = load_digits(return_X_y=True)
    part = torch.from_numpy(x)[:300], torch.from_numpy(y)[:300]
    whole = logistic(part, part, 10, c=(10.0,)).how["iterations"]
    assert whole > 20
    monkeypatch.setattr(module, "ITERATIONS", 20)
    with pytest.warns(UserWarning, match=r"--c 10: not at the optimum after 20 iterations"):
        assert logistic(part, part, 10, c=(10.0,)).how["iterations"] == 20


@pytest.mark.parametrize("constant", [0.0, 0.7, -1e4])
def test_a_constant_feature_is_centred_as_by_scikit_learn(constant: float) -> None:
    """In float32, whose rounding makes a deviation of a constant; the test part's one varies."""
    rng = np.random.default_rng(0)
    x, y = load_digits(return_X_y=True)
    x = np.concatenate([x[:300, 20:30], np.full((300, 1), constant)], axis=1).astype(np.float32)
    queries = x[:50].copy()
    queries[:, -1] += 0.05 * rng.normal(size=50).astype(np.float32)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000, tol=1e-8))
    theirs.fit(x.astype(float), y[:300])
    ours = fit_standardized(tuple(map(torch.from_numpy, (x, y[:300]))), 10, l2=1 / 300, steps=500)
    expected = torch.from_numpy(theirs.decision_function(queries.astype(float))).float()
    found = ours(torch.from_numpy(queries))
    centered = [logits - logits.mean(dim=1, keepdim=True) for logits in (found, expected)]
    torch.testing.assert_close(*centered, atol=2e-3, rtol=1e-3)


def test_unlabeled_samples_take_no_part() -> None:
    h = torch.tensor([[0.0], [1.0], [9.0]])
    labels = torch.tensor([0, 1, -1])
    found = logistic((h, labels), (h, labels), 2)
    assert found.numbers == logistic((h[:2], labels[:2]), (h[:2], labels[:2]), 2).numbers


def test_accuracy_is_scikit_learns_with_a_scaler() -> None:
    x, y = load_digits(return_X_y=True)
    train, test = ((torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in PARTS)
    for c in (0.01, 1.0):
        found = logistic(train, test, 10, c=(c,))
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000, tol=1e-8))
        theirs.fit(x[PARTS[0]], y[PARTS[0]])
        assert found.numbers["top1"] == pytest.approx(
            theirs.score(x[PARTS[1]], y[PARTS[1]]), abs=1e-3
        )
        assert found.how["c"] == c


def test_of_two_classes_c_is_scikit_learns() -> None:
    """Which has one row of weights for them."""
    x, y = load_digits(n_class=2, return_X_y=True)
    y[::7] = 1 - y[::7]  # so that the classes overlap
    train, test = (
        (torch.from_numpy(x[part]), torch.from_numpy(y[part]))
        for part in (slice(0, 300), slice(300, None))
    )
    fit = logistic(train, test, 2, c=(0.1,))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, tol=1e-8))
    theirs.fit(x[:300], y[:300])
    assert fit.predictions is not None
    assert fit.predictions[:, 1].tolist() == theirs.predict(x[300:]).tolist()
    found = module.classifier_of(train, 2, 0.1)(test[0]).diff(dim=1).squeeze(1)
    expected = torch.from_numpy(theirs.decision_function(x[300:])).float()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("large", [1e39, 1e300, float("nan")])
def test_features_too_large_for_float32_are_named(large: float) -> None:
    x, y = load_digits(return_X_y=True)
    x[3, 2] = large
    part = torch.from_numpy(x)[:100], torch.from_numpy(y)[:100]
    with pytest.raises(ValueError, match="not finite"):
        logistic(part, part, 10)


def test_of_several_cs_the_best_on_the_held_out_part_is_taken() -> None:
    x, y = load_digits(return_X_y=True)
    train, test = ((torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in PARTS)
    found = logistic(train, test, 10, c=(1e-7, 1.0))
    assert found.chosen == {"c": 1.0}
    assert found.numbers == logistic(train, test, 10, c=(1.0,)).numbers
