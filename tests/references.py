"""Oracles: the formulas as loops over anchors, in float64, without any of the engine's ideas."""

import torch
from torch import Tensor

PUSHED = {  # of anchor (view v, sample i, id a) and candidate (view w, sample j, id b)
    "nt_xent": lambda v, i, a, w, j, b: (v, i) != (w, j),
    "info_nce": lambda v, i, a, w, j, b: v != w,
    "dcl": lambda v, i, a, w, j, b: a != b,
    "dcl_symmetric": lambda v, i, a, w, j, b: a != b,
    "dhel": lambda v, i, a, w, j, b: v == w and a != b,
}


def pairwise(name: str, z: Tensor, ids: Tensor | None, temperature: Tensor) -> Tensor:
    """Mean over anchors of -mean positive similarity + log-sum-exp of the pushed ones."""
    views, n, _ = z.shape
    z = z / z.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    names = list(range(n)) if ids is None else ids.tolist()
    losses = []
    for v in range(1 if name == "dcl" else views):
        for i in range(n):
            pull, push = [], []
            for w in range(views):
                for j in range(n):
                    s = (z[v, i] * z[w, j]).sum() / temperature
                    if (v, i) != (w, j) and names[i] == names[j]:
                        pull.append(s)
                    if PUSHED[name](v, i, names[i], w, j, names[j]):
                        push.append(s)
            loss = 0 * z.sum()
            if pull:
                loss = loss - torch.stack(pull).mean()
                loss = loss + (torch.stack(push).logsumexp(0) if push else 0)
            losses.append(loss)
    return torch.stack(losses).mean()


def barlow_twins(z: Tensor, lamb: float) -> Tensor:
    """The double sum over dimensions of the cross-correlation of standardised views."""
    u, v = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in z)
    loss = 0 * z.sum()
    for i in range(z.shape[2]):
        for j in range(z.shape[2]):
            c = (u[:, i] * v[:, j]).mean()
            loss = loss + ((1 - c) ** 2 if i == j else lamb * c**2)
    return loss
