"""Losses from their formulas in fifty digits, on arrays of mpmath's numbers; nothing of `cl`."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import mpmath as mp
import numpy as np
from torch import Tensor

mp.mp.dps = 60
STEP = mp.mpf(10) ** -25  # of the central differences, whose error is its square


def number(x: float) -> Any:
    return mp.mpf(float(x))


def exact(z: Tensor) -> np.ndarray:
    """The floating-point numbers as they are."""
    return np.vectorize(number, otypes=[object])(z.detach().double().numpy())


def gradient(loss: Callable[[np.ndarray], Any], z: np.ndarray) -> np.ndarray:
    slopes = np.empty_like(z)
    for i in np.ndindex(z.shape):
        high, low = z.copy(), z.copy()
        high[i] += STEP
        low[i] -= STEP
        slopes[i] = (loss(high) - loss(low)) / (2 * STEP)
    return slopes


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.vectorize(mp.sqrt, otypes=[object])((z * z).sum(-1))[..., None]


def mean(x: Any) -> Any:
    values = list(np.ravel(x))
    return mp.fsum(values) / len(values)


def lse(x: Any) -> Any:
    return mp.log(mp.fsum(mp.exp(each) for each in np.ravel(x)))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def squared(u: np.ndarray, v: np.ndarray) -> Any:
    return ((u - v) ** 2).sum()


Denominator = Callable[[int, int, int, int], bool]  # of views and samples of anchor and candidate


def softmax(z: np.ndarray, t: Any, denominator: Denominator, anchors: int) -> Any:
    """The mean over the first so many views' anchors, each with a single positive."""
    n = z.shape[1]
    flat = unit(z).reshape(2 * n, -1)
    s, each = flat @ flat.T / t, []
    for a in range(anchors * n):
        inside = [b for b in range(2 * n) if denominator(*divmod(a, n), *divmod(b, n))]
        each.append(lse(s[a, inside]) - s[a, (a + n) % (2 * n)])
    return mean(each)


def mv_infonce(z: np.ndarray, t: Any) -> Any:
    n, flat = z.shape[1], unit(z).reshape(2 * z.shape[1], -1)
    s, each = flat @ flat.T / t, []
    for i in range(n):
        around = [s[a, b] for a in (i, i + n) for b in range(2 * n) if a != b]
        each.append(lse(around) - lse([s[i, i + n], s[i + n, i]]))
    return mean(each)


def divergence(one: np.ndarray, other: np.ndarray, t: Any) -> Any:
    """The mean over rows of KL(q || r), r the softmax of each row and q that of its column."""
    rows, each = one @ other.T / t, []
    for i in range(len(rows)):
        row, column = rows[i] - lse(rows[i]), rows[:, i] - lse(rows[:, i])
        each.append(mp.fsum(mp.exp(q) * (q - r) for q, r in zip(column, row, strict=True)))
    return mean(each)


def relic(z: np.ndarray, t: Any, alpha: float) -> Any:
    u, losses = unit(z), []
    for one, other in ((u[0], u[1]), (u[1], u[0])):
        rows = one @ other.T / t
        contrast = mean([lse(rows[i]) - rows[i, i] for i in range(len(rows))])
        losses.append(contrast + number(alpha) * divergence(one, other, t))
    return mean(losses)


def info_nce_angle(z: np.ndarray, t: Any, margin: float) -> Any:
    u, each = unit(z), []
    for i in range(len(u[0])):
        opposite, adjacent = squared(u[0, i], u[1, i]), squared(u[0, i], -u[1, i])
        angle = 2 * mp.atan2(mp.sqrt(opposite), mp.sqrt(adjacent))
        others = [(u[0, i] * u[1, j]).sum() / t for j in range(len(u[0])) if j != i]
        each.append(softplus(lse(others) - mp.cos(angle + mp.radians(number(margin))) / t))
    return mean(each)


def hcl(z: np.ndarray, t: Any, beta: int) -> Any:
    n, flat, each = z.shape[1], unit(z).reshape(2 * z.shape[1], -1), []
    count, share = 2 * n - 2, number(0.1)
    for a in range(2 * n):
        positive = mp.exp((flat[a] * flat[(a + n) % (2 * n)]).sum() / t)
        x = [mp.exp((flat[a] * flat[b]).sum() / t) for b in range(2 * n) if b % n != a % n]
        hard = count * mp.fsum(e ** (1 + beta) for e in x) / mp.fsum(e**beta for e in x)
        corrected = (hard - share * count * positive) / (1 - share)
        each.append(mp.log1p(max(corrected, count * mp.exp(-1 / t)) / positive))
    return mean(each)


def kernel(d2: Any, name: str) -> Any:
    """With t = 2."""
    forms = {
        "gaussian": lambda: mp.exp(-2 * d2),
        "log": lambda: -mp.log1p(2 * d2),
        "imq": lambda: 2 / mp.sqrt(4 + d2),
        "riesz": lambda: 1 / d2,
    }
    return forms[name]()


def kcl(z: np.ndarray, align: str, spread: str, gamma: float) -> Any:
    u, n = unit(z), z.shape[1]
    near = mean([kernel(squared(u[0, i], u[1, i]), align) for i in range(n)])
    far = mean(
        [kernel(squared(v[i], v[j]), spread) for v in u for i, j in combinations(range(n), 2)]
    )
    return 2 * (number(gamma) * far * (number(0.5) if spread == "log" else 1) - near)


def sigmoid(z: np.ndarray, t: Any, bias: float) -> Any:
    u, v = unit(z)
    logits = u @ v.T / t + number(bias)
    signs = np.where(np.eye(len(u), dtype=bool), -1, 1)
    return mp.fsum(softplus(x) for x in np.ravel(logits * signs)) / len(u)


def ranking(a: np.ndarray, scores: list[float], scale: float) -> Any:
    n = len(a)
    pairs = [(i, j) for i in range(n) for j in range(n) if scores[i] < scores[j]]
    return mp.log1p(mp.fsum(mp.exp(number(scale) * (a[i] - a[j])) for i, j in pairs))


def moco(z: np.ndarray, queue: np.ndarray, t: Any) -> Any:
    q, k, others = unit(z[0]), unit(z[1]), unit(queue)
    return mean(
        [softplus(lse(others @ x / t) - (x * y).sum() / t) for x, y in zip(q, k, strict=True)]
    )


def vicreg(z: np.ndarray) -> Any:
    n, d = z.shape[1:]
    loss = 25 * mean((z[0] - z[1]) ** 2)
    for x in z:
        centered = x - x.sum(0) / n
        c = centered.T @ centered / (n - 1)
        hinge = [max(0, 1 - mp.sqrt(c[i, i] + number(1e-4))) for i in range(d)]
        loss += number(12.5) * mean(hinge)
        loss += mp.fsum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return loss


def margin(z: np.ndarray, same: list[bool]) -> Any:
    d2 = [squared(u, v) for u, v in zip(*z, strict=True)]
    pairs = zip(d2, same, strict=True)
    return mean([x if one else max(0, 1 - mp.sqrt(x)) ** 2 for x, one in pairs])


def triplet(z: np.ndarray, size: float, eps: float) -> Any:
    def distance(i: int, k: int) -> Any:
        return mp.sqrt(squared(z[0, i] + number(eps), z[k, i]))

    return mean([max(0, distance(i, 1) - distance(i, 2) + size) for i in range(z.shape[1])])
