"""Logistic regression against scikit-learn's optimum, on real digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from cl.eval.logreg import accuracy, fit


def test_the_optimum_is_scikit_learns() -> None:
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    h, labels = torch.from_numpy(x), torch.from_numpy(y)
    ours = fit(h, labels, 10, l2=1 / len(x), steps=500)
    theirs = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8).fit(x, y)

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = h @ torch.from_numpy(weight).T + torch.from_numpy(bias)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return float(loss) + 0.5 / len(x) * float((weight**2).sum())

    found = objective(ours.weight.numpy(), ours.bias.numpy())
    best = objective(theirs.coef_, theirs.intercept_)
    assert found == pytest.approx(best, abs=1e-5)


def test_unlabelled_samples_take_no_part() -> None:
    h = torch.tensor([[0.0], [1.0], [9.0]])
    labels = torch.tensor([0, 1, -1])
    assert accuracy((h, labels), (h, labels), 2) == 1.0
