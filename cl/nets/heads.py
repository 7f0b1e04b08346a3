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
        norm: without it there are only biases and ReLUs (SupCon).
        last_norm: a BatchNorm without scale and shift after the last layer (SimSiam).
        last_bias: a bias in the last layer; those before it need none, a norm follows.
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
    """All views through a head in one forward, so that its BatchNorm sees them together."""
    return rearrange(head(rearrange(h, "v n d -> (v n) d")), "(v n) e -> v n e", v=len(h))


def view_by_view(
    head: Callable[[Tensor], Tensor], h: Float[Tensor, "v n d"]
) -> Float[Tensor, "v n e"]:
    """Each view through a head by itself, so that its BatchNorm sees one view at a time."""
    return torch.stack([head(x) for x in h])
