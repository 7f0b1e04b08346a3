"""Oracles: every loss as plain loops over anchors and candidates, sharing nothing with `cl`."""

import math
from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Whether candidate (view w, sample j, id b) is in the denominator of anchor (v, i, a).
DENOMINATORS = {
    "nt_xent": lambda v, i, a, w, j, b: (v, i) != (w, j),
    "supcon": lambda v, i, a, w, j, b: (v, i) != (w, j),
    "info_nce": lambda v, i, a, w, j, b: v != w,
    "clip": lambda v, i, a, w, j, b: v != w,
    "dcl": lambda v, i, a, w, j, b: a != b,
    "dcl_symmetric": lambda v, i, a, w, j, b: a != b,
    "dhel": lambda v, i, a, w, j, b: v == w and a != b,
}


def unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def labels_of(z: Tensor, ids: Tensor | None) -> list[int]:
    return list(range(z.shape[1])) if ids is None else ids.tolist()


def lse(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).logsumexp(0)


def mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()


def pairwise(name: str, z: Tensor, ids: Tensor | None, temperature: Tensor) -> Tensor:
    """Mean over anchors of log-sum-exp of the denominator - mean similarity to the positives."""
    views, n, _ = z.shape
    z, labels = unit(z), labels_of(z, ids)
    losses = []
    for v in range(1 if name == "dcl" else views):
        for i in range(n):
            positives, denominator = [], []
            for w in range(views):
                for j in range(n):
                    s = (z[v, i] * z[w, j]).sum() / temperature
                    apart = v != w if name in ("info_nce", "clip") else (v, i) != (w, j)
                    if apart and labels[i] == labels[j]:
                        positives.append(s)
                    if DENOMINATORS[name](v, i, labels[i], w, j, labels[j]):
                        denominator.append(s)
            loss = 0 * z.sum()
            if positives:
                loss = loss - mean(positives)
                loss = loss + (lse(denominator) if denominator else 0)
            losses.append(loss)
    return mean(losses)


def dclw(z: Tensor, ids: Tensor | None, t: Tensor) -> Tensor:
    """The first view's anchors, their positives weighted by the agreement of the batch's."""
    z, labels, n = unit(z), labels_of(z, ids), z.shape[1]
    agree, denominators = [], []
    for i in range(n):
        same = [(w, j) for w in range(len(z)) for j in range(n) if labels[i] == labels[j]]
        alike = [(z[0, i] * z[w, j]).sum() for w, j in same if (w, j) != (0, i)]
        agree.append(mean(alike) if alike else 0 * z.sum())
        terms = [
            (z[0, i] * x).sum() / t for v in z for j, x in enumerate(v) if labels[i] != labels[j]
        ]
        denominators.append((lse(terms) if terms else 0 * z.sum(), bool(alike)))
    exponential = torch.stack(agree).detach().div(0.5).exp()
    weights = 2 - exponential / exponential.mean()
    each = [d - w * a / t for (d, _), w, a in zip(denominators, weights, agree, strict=True)]
    return mean([x if some else 0 * x for x, (_, some) in zip(each, denominators, strict=True)])


def mv_infonce(z: Tensor, _: Tensor | None, t: Tensor) -> Tensor:
    z, each = unit(z), []
    for i in range(z.shape[1]):
        around = [
            (z[k, i] * z[w, j]).sum() / t
            for k in range(len(z))
            for w in range(len(z))
            for j in range(z.shape[1])
            if (w, j) != (k, i)
        ]
        own = [(z[k, i] * z[w, i]).sum() / t for k, w in permutations(range(len(z)), 2)]
        each.append(lse(around) - lse(own))
    return mean(each)


def mv_dhel(z: Tensor, ids: Tensor | None, t: Tensor) -> Tensor:
    z, labels, each = unit(z), labels_of(z, ids), []
    for i in range(z.shape[1]):
        loss = -lse([(z[k, i] * z[w, i]).sum() / t for k, w in combinations(range(len(z)), 2)])
        for v in z:
            terms = [(v[i] * x).sum() / t for j, x in enumerate(v) if labels[i] != labels[j]]
            loss = loss + (lse(terms) if terms else 0)
        each.append(loss)
    return mean(each)


def info_nce_angle(z: Tensor, ids: Tensor | None, t: Tensor) -> Tensor:
    z, labels, each = unit(z), labels_of(z, ids), []
    for i in range(z.shape[1]):
        negatives = [
            (z[0, i] * x).sum() / t
            for v in z[1:]
            for j, x in enumerate(v)
            if labels[i] != labels[j]
        ]
        for v in z[1:]:
            angle = (z[0, i] * v[i]).sum().acos()
            positive = (angle + math.radians(10)).cos() / t
            each.append(lse([positive, *negatives]) - positive)
    return mean(each)


def hcl(z: Tensor, ids: Tensor | None, t: Tensor, beta: float = 1.0) -> Tensor:
    """As the paper writes it, exponentials and all, over each pair of views."""
    z, labels, each = unit(z), labels_of(z, ids), []
    for pair in combinations(z, 2):
        for v, other in permutations(pair):
            for i in range(len(v)):
                p = ((v[i] * other[i]).sum() / t).exp()
                negatives = [
                    ((v[i] * x).sum() / t).exp()
                    for w in pair
                    for j, x in enumerate(w)
                    if labels[i] != labels[j]
                ]
                if not negatives:
                    each.append(0 * p)
                    continue
                x, k = torch.stack(negatives), len(negatives)
                hard = k * (x ** (1 + beta)).sum() / (x**beta).sum()
                ng = torch.maximum((hard - 0.1 * k * p) / 0.9, k * (-1 / t).exp())
                each.append(-(p / (p + ng)).log())
    return mean(each)


def debiased(z: Tensor, ids: Tensor | None, t: Tensor) -> Tensor:
    return hcl(z, ids, t, beta=0.0)


def kcl(z: Tensor, ids: Tensor | None, _: Tensor) -> Tensor:
    z, labels = unit(z), labels_of(z, ids)
    near = [(-2 * (u - v).square().sum(-1)).exp() for u, v in combinations(z, 2)]
    far = [
        (-2 * (v[i] - v[j]).square().sum()).exp()
        for v in z
        for i, j in permutations(range(len(v)), 2)
        if labels[i] != labels[j]
    ]
    return 2 * (16 * (mean(far) if far else 0) - mean(near))


def mnrl(z: Tensor, ids: Tensor | None, t: Tensor) -> Tensor:
    z, labels, each = unit(z), labels_of(z, ids), []
    for i in range(z.shape[1]):
        denominator = [
            (z[0, i] * x).sum() / t
            for v in z[1:]
            for j, x in enumerate(v)
            if i == j or labels[i] != labels[j]
        ]
        each.append(lse(denominator) - (z[0, i] * z[1, i]).sum() / t)
    return mean(each)


def invariance(logits: Tensor) -> Tensor:
    """Mean over i of KL between the softmax of column i and of row i."""
    return mean(
        [
            F.kl_div(row.log_softmax(0), column.log_softmax(0), reduction="sum", log_target=True)
            for row, column in zip(logits, logits.T, strict=True)
        ]
    )


def relic(z: Tensor, ids: Tensor | None, t: Tensor, alpha: float = 0.5) -> Tensor:
    z, labels, losses = unit(z), labels_of(z, ids), []
    for u, v in permutations(z, 2):
        logits = u @ v.T / t
        each = []
        for i in range(len(u)):
            positives = [logits[i, j] for j in range(len(v)) if labels[i] == labels[j]]
            each.append(logits[i].logsumexp(0) - mean(positives))
        losses.append(mean(each) + alpha * invariance(logits))
    return mean(losses)


def sigmoid(
    z: Tensor, ids: Tensor | None, t: Tensor, alpha: float = 0.0, gamma: float = 0
) -> Tensor:
    z, labels, losses = unit(z), labels_of(z, ids), []
    for u, v in permutations(z, 2):
        logits, total = u @ v.T / t - 10, 0 * z.sum()
        for i in range(len(u)):
            for j in range(len(v)):
                p = (logits[i, j] * (1 if labels[i] == labels[j] else -1)).sigmoid()
                total = total - (1 - p) ** gamma * p.log()
        losses.append(total / len(u) + alpha * invariance(logits))
    return mean(losses)


def vicreg(z: Tensor, _: Tensor | None, __: Any) -> Tensor:
    losses, n, d = [], z.shape[1], z.shape[2]
    for pair in combinations(z, 2):
        loss = 25 * (pair[0] - pair[1]).square().mean()
        for x in pair:
            c = torch.cov(x.T).reshape(d, d) if n > 1 else 0 * torch.eye(d, dtype=x.dtype)
            loss = loss + 12.5 * F.relu(1 - (c.diagonal() + 1e-4).sqrt()).mean()
            loss = loss + (c.square().sum() - c.diagonal().square().sum()) / d
        losses.append(loss)
    return mean(losses)


def barlow_twins(z: Tensor, _: Tensor | None, __: Any, lamb: float = 5e-3) -> Tensor:
    """The double sum over dimensions of the cross-correlation of standardized views."""
    u, v = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in z)
    loss = 0 * z.sum()
    for i in range(z.shape[2]):
        for j in range(z.shape[2]):
            c = (u[:, i] * v[:, j]).mean()
            loss = loss + ((1 - c) ** 2 if i == j else lamb * c**2)
    return loss


def softmax_oracle(name: str) -> Callable[[Tensor, Tensor | None, Tensor], Tensor]:
    return lambda z, ids, t: pairwise(name, z, ids, t)


ORACLES: dict[str, Callable[[Tensor, Tensor | None, Tensor], Tensor]] = {
    **{name: softmax_oracle(name) for name in DENOMINATORS},
    **{
        f.__name__: f for f in (dclw, mv_infonce, mv_dhel, info_nce_angle, hcl, debiased, kcl, mnrl)
    },
    **{f.__name__: f for f in (relic, sigmoid, vicreg, barlow_twins)},
}
