"""Heads: the multilayer perceptrons that carry features to embeddings."""

from collections.abc import Callable
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def mlp(
    *dims: int, norm: bool = True, last_norm: bool = False, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them.

    Args:
        dims: input, hidden and output widths.
        norm: put BatchNorm after each hidden layer; without it the layers have biases (SupCon).
        last_norm: put a BatchNorm without scale and shift after the last layer (SimSiam).
        last_bias: give the last layer a bias.
    """
    layers: list[nn.Module] = []
    for i, o in pairwise(dims[:-1]):
        layers += [nn.Linear(i, o, bias=not norm), *([nn.BatchNorm1d(o)] if norm else [])]
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(dims[-2], dims[-1], bias=last_bias and not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(dims[-1], affine=False))
    return nn.Sequential(*layers)


def each_view(
    head: Callable[[Tensor], Tensor], h: Float[Tensor, "v n d"]
) -> Float[Tensor, "v n e"]:
    """Apply a head to all views at once, so that its BatchNorm sees them together."""
    return rearrange(head(rearrange(h, "v n d -> (v n) d")), "(v n) e -> v n e", v=len(h))


def view_by_view(
    head: Callable[[Tensor], Tensor], h: Float[Tensor, "v n d"]
) -> Float[Tensor, "v n e"]:
    """Apply a head to one view after the other, so that its BatchNorm sees one at a time."""
    return torch.stack([head(x) for x in h])
