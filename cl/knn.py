"""Weighted k-nearest-neighbor classification (Wu et al. 2018, https://arxiv.org/abs/1805.01978)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.precision import precise


def classify(
    bank: Float[Tensor, "m d"],
    classes: Int[Tensor, " m"],
    queries: Float[Tensor, "n d"],
    *,
    k: int = 20,
    temperature: float = 0.07,
    block: int = 1024,
) -> Int[Tensor, " n"]:
    r"""The class with the largest sum of $e^{\cos(q, b) / T}$ over the k nearest of the bank.

    Args:
        bank: features whose classes are known, of any length.
        queries: `block` of them at a time are compared with the whole bank.
        k: 20, what solo-learn and lightly take for small sets (200 in the paper, for ImageNet).
        temperature: 0.07, the paper's.

    Raises:
        ValueError: a feature is NaN or infinite.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    >>> queries = torch.tensor([[1.0, 0.2], [0.5, 1.0]])
    >>> classify(bank, torch.tensor([0, 1, 1]), queries, k=2).tolist()
    [0, 1]
    """
    if not (bank.isfinite().all() and queries.isfinite().all()):
        raise ValueError("the features are not finite (NaN or infinite), so none is the nearest")
    if not len(bank):
        return torch.full((len(queries),), -1, device=queries.device)
    answers = [
        votes(near, classes[at], int(classes.max()) + 1, temperature).argmax(dim=1)
        for near, at in nearest(bank, queries, k, block)
    ]
    return torch.cat(answers) if answers else classes[:0]


def nearest(
    bank: Float[Tensor, "m d"], queries: Float[Tensor, "n d"], k: int, block: int = 1024
) -> Iterator[tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]]:
    """Cosines and places of the k nearest of the bank, `block` queries at a time."""
    bank = F.normalize(precise(bank), dim=1)
    for q in queries.split(block):
        near, at = (F.normalize(precise(q), dim=1) @ bank.T).topk(min(k, len(bank)), dim=1)
        yield near, at


def votes(
    near: Float[Tensor, "b k"], classes: Int[Tensor, "b k"], number: int, temperature: float
) -> Float[Tensor, "b c"]:
    """What the neighbors, the nearest first, say for each of so many classes.

    The nearest one's vote is 1: a common factor, without which all underflow at a low temperature.
    """
    said = near.new_zeros(len(near), number)
    return said.scatter_add_(1, classes, ((near - near[:, :1]) / temperature).exp())
