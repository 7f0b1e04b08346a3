"""The online probe: a linear classifier of the features that does not influence the encoder."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.distributed import all_reduce_sum, world_size
from cl.precision import precise


class Probe(nn.Module):
    """A linear classifier that is trained beside the encoder; the caller detaches the features.

    Args:
        dim: dimensions of the features.
        classes: number of classes.
        standardize: first give every feature mean 0 and deviation 1, so that one learning rate
            suits features of any scale, like the BatchNorm without parameters before MAE's linear
            probe (He et al. 2022, appendix A.1, https://arxiv.org/abs/2111.06377).
    """

    def __init__(self, dim: int, classes: int, *, standardize: bool = False) -> None:
        super().__init__()
        self.standardize = Standardize(dim) if standardize else nn.Identity()
        self.linear = nn.Linear(dim, classes)

    def forward(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "v n c"]:
        return self.linear(self.standardize(h))


class Standardize(nn.Module):
    """Standardize features by the global batch's statistics; in evaluation by running ones.

    Unlike BatchNorm it computes the same on any number of processes and any device.
    """

    momentum, epsilon = 0.1, 1e-5  # torch's BatchNorm

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.mean: Tensor
        self.variance: Tensor

    def forward(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "v n d"]:
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = feature_moments(h.detach().to(self.mean.dtype))
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        return (h - mean) * torch.rsqrt(variance + self.epsilon)


def feature_moments(h: Float[Tensor, "v n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and variance of each feature over the samples of all processes."""
    if world_size() == 1:
        variance, mean = torch.var_mean(h, dim=(0, 1), correction=0)
        return mean, variance
    n = all_reduce_sum(h.new_full((), h.shape[0] * h.shape[1]))
    mean = all_reduce_sum(reduce(h, "v n d -> d", "sum")) / n
    return mean, all_reduce_sum(reduce((h - mean).square(), "v n d -> d", "sum")) / n


def cross_entropy(logits: Float[Tensor, "v n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over all views of the labeled samples; zero where a batch has none (labels < 0)."""
    each = F.cross_entropy(
        precise(rearrange(logits, "v n c -> (v n) c")),
        repeat(labels.clamp(min=-1), "n -> (v n)", v=len(logits)),
        ignore_index=-1,
        reduction="sum",
    )
    return each / (len(logits) * (labels >= 0).sum()).clamp(min=1)


def binary_cross_entropy(
    logits: Float[Tensor, "v n c"], labels: Int[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """The sum over classes, each a question of its own, of the mean over all views and samples."""
    targets = repeat(labels, "n c -> v n c", v=len(logits)).to(precise(logits).dtype)
    each = F.binary_cross_entropy_with_logits(precise(logits), targets, reduction="sum")
    return each / max(1, logits.shape[0] * logits.shape[1])


def classification_loss(
    logits: Float[Tensor, "v n c"], labels: Int[Tensor, " n"] | Int[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """Cross-entropy, or where a sample may be of several classes binary cross-entropy."""
    return (cross_entropy if labels.ndim == 1 else binary_cross_entropy)(logits, labels)


def shown_topk(classes: int) -> list[int]:
    """The k of the top-k accuracies that say something of so many classes.

    >>> shown_topk(10), shown_topk(5)
    ([1, 5], [1])
    """
    return [k for k in (1, 5) if k < classes]


def topk_correct(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], k: int
) -> Int[Tensor, ""]:
    """How many labeled samples have their class among the k largest logits."""
    if k == 1:
        return (logits.argmax(dim=1) == labels).sum()
    top = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (top == rearrange(labels, "n -> n 1")).any(dim=1).sum()
