"""Episodes and class means against plain loops."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import load_digits

from cl.eval.fewshot import draw_episodes, fewshot

X, Y = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
TRAIN, TEST = (X[:1000].float(), Y[:1000]), (X[1000:].float(), Y[1000:])


def test_accuracy_and_interval_are_the_loops() -> None:
    found = fewshot(TRAIN, TEST, 10, ways=4, shots=(1, 3), queries=5, episodes=40, seed=7).numbers
    for k in (1, 3):
        shares = []
        for support, queries in draw_episodes(TRAIN[1], TEST[1], 4, k, 5, 40, 7):
            means, right, n = [], 0, 0
            for places in support:
                total = np.zeros(64)
                for i in places:
                    x = TRAIN[0][i].double().numpy()
                    total += x / (x @ x) ** 0.5
                means.append(total / k)
            for way, places in enumerate(queries):
                for i in places:
                    x = TEST[0][i].double().numpy()
                    distances = [float(((x / (x @ x) ** 0.5 - m) ** 2).sum()) for m in means]
                    right, n = right + (int(np.argmin(distances)) == way), n + 1
            shares.append(right / n)
        mean, error = np.mean(shares), np.std(shares) / 40**0.5
        assert found[f"shot{k}"] == pytest.approx(mean)
        assert found[f"shot{k}_95"] == pytest.approx(mean + norm.ppf([0.025, 0.975]) * error)
    assert 0.5 < found["shot1"] < found["shot3"] < 1


def test_episodes_are_of_different_classes_and_images_and_follow_the_seed() -> None:
    few = TEST[1].clone()
    few[torch.where(few == 3)[0][2:]] = -1  # two queries are left
    drawn = list(draw_episodes(TRAIN[1], few, 5, 4, 15, 30, 0))
    for support, queries in drawn:
        kinds = [TRAIN[1][places].unique().tolist() for places in support]
        assert len({kind for (kind,) in kinds}) == 5
        assert [few[places].unique().tolist() for places in queries] == kinds
        assert all(len({*places.tolist()}) == 4 for places in support)
        sizes = [2 if kind == [3] else 15 for kind in kinds]
        assert [len({*places.tolist()}) for places in queries] == sizes
    again = list(draw_episodes(TRAIN[1], few, 5, 4, 15, 30, 0))
    other = list(draw_episodes(TRAIN[1], few, 5, 4, 15, 30, 1))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(drawn, again, strict=True))
    assert not all(torch.equal(a, b) for (a, _), (b, _) in zip(drawn, other, strict=True))


def test_too_few_classes_are_said_and_few_are_all_taken() -> None:
    two = tuple((h[y < 2], y[y < 2]) for h, y in (TRAIN, TEST))
    assert fewshot(*two, 2, episodes=5).how["ways"] == 2
    with pytest.raises(ValueError, match="3 classes with 5 training images and a test image are"):
        fewshot(*two, 2, ways=3)
    with pytest.raises(ValueError, match=r"2 classes with 500 training images .* there are 0"):
        fewshot(*two, 2, shots=(1, 500))
    with pytest.raises(ValueError, match="--ways must be at least 2"):
        fewshot(*two, 2, ways=1)
