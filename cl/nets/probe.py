"""The online probe: a linear classifier that learns from the features and never changes them."""

import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn


class Probe(nn.Module):
    """Trained along with the encoder; what it is given is cut from the graph by its caller."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)

    def forward(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "v n c"]:
        return self.linear(h)


def cross_entropy(logits: Float[Tensor, "v n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over all views of the labelled samples; zero where a batch has none (labels < 0)."""
    each = F.cross_entropy(
        rearrange(logits, "v n c -> (v n) c").float(),
        repeat(labels.clamp(min=-1), "n -> (v n)", v=len(logits)),
        ignore_index=-1,
        reduction="sum",
    )
    return each / (len(logits) * (labels >= 0).sum()).clamp(min=1)


def hits(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], k: int) -> Int[Tensor, ""]:
    """How many labelled samples have their class among the k largest logits."""
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (top == rearrange(labels, "n -> n 1")).any(dim=1).sum()
