"""Kernel contrastive loss (Koromilas et al. 2024, https://arxiv.org/abs/2405.18045, section 5)."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import NonNegative, Positive
from cl.losses._defined import mean, require_positive, require_views
from cl.losses._direct import gradients, similarity_gradients, sum_exponentials
from cl.losses._function import WholeLoss
from cl.losses._layout import PairLayout
from cl.losses._logsumexp import MAX_SAFE_SCALE
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, fits_whole
from cl.losses._sum import pair_sum
from cl.precision import Unit, precise, without_autocast


def kcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    kernel: Literal["gaussian", "log", "imq", "riesz", "gaussian_riesz"] = "gaussian",
    t: Positive = 2.0,
    gamma: NonNegative = 16.0,  # the authors' code's
    log_energy_factor: NonNegative = 0.5,
) -> Float[Tensor, ""]:
    r"""$2 (-\mathrm{mean}\, K(d_{+}) + \gamma\, \mathrm{mean}\, K(d_{-}))$ of Euclidean distances.

    $d_+$ are distances between views of a sample, $d_-$ between samples of one view, both of
    normalized embeddings. Use it with any batch size: without a logarithm of a sum its expected
    value does not depend on the number of negatives.

    Args:
        z: see `cl.losses`.
        ids: samples with equal ids are no negatives; positives are the sample's own other views.
        rows: see `cl.losses`.
        kernel: gaussian exp(-t d^2), log -log(t d^2 + 1), imq t / sqrt(t^2 + d^2), riesz d^-t;
            gaussian_riesz aligns by the gaussian with t = 2 and spreads by riesz.
        t: the kernel's parameter.
        gamma: weight of the negative pairs.
        log_energy_factor: factor of the log kernel's negative pairs, a half in the authors' code.

    Returns:
        The mean over the local pairs, a scalar.

    Example:
        Two samples at opposite ends whose views agree: 2 (-1 + 16 e^{-2 * 4}).

        >>> round(kcl(torch.tensor([[[1.0], [-1.0]]] * 2)).item(), 4)
        -1.9893

        Equivalent, for two views and the gaussian kernel, to:

        >>> u, v = z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> near = (-2 * (u - v).square().sum(1)).exp().mean()
        >>> far = (-2 * torch.stack([torch.pdist(x) for x in z]).square()).exp().mean()
        >>> torch.testing.assert_close(kcl(z), 2 * (16 * far - near))
    """
    align, align_t = ("gaussian", 2.0) if kernel == "gaussian_riesz" else (kernel, t)
    spread = "riesz" if kernel == "gaussian_riesz" else kernel
    factor = log_energy_factor if kernel == "log" else 1.0

    def energy(squared: Tensor) -> Tensor:
        return apply_kernel(squared, spread, t)

    require_views(z)
    require_positive(t=t)
    with without_autocast(z):
        if ids is None and kernel == "gaussian":
            whole = whole_gaussian(z, rows, t, gamma)
            if whole is not None:
                return whole
        context = compare(z, ids, rows, 1.0)
        v, n, _ = z.shape
        near = torch.stack([(u - w).square().sum(dim=-1) for u, w in context.own_pairs()])
        alignment = mean(apply_kernel(near, align, align_t))
        pairs = v * (n**2 - context.class_sizes().square().sum()).clamp(min=1)
        total = pair_sum(
            context,
            Denominator("same", positives=False),
            lambda cosine, _: energy(2 - 2 * cosine),
            near=energy if spread == "riesz" else None,
        )
        uniformity = factor * total / pairs * (n / max(1, near.shape[-1]))
        return 2 * (gamma * uniformity - alignment)


def apply_kernel(squared: Float[Tensor, "..."], kernel: str, t: float) -> Float[Tensor, "..."]:
    """A kernel of squared distances, which are at least the square of the rounding error."""
    squared = squared.clamp(min=torch.finfo(squared.dtype).eps ** 2)
    if kernel == "gaussian":
        return (-t * squared).exp()
    if kernel == "log":
        return -torch.log1p(t * squared)
    if kernel == "imq":
        return t * (t**2 + squared).rsqrt()
    return squared.pow(-t / 2) if t >= 0 else -squared.pow(-t / 2)


class GaussianLoss(WholeLoss):
    r"""The loss of two views and the gaussian kernel, $e^{-2t} e^{2t \cos}$ of a pair."""

    @staticmethod
    def forward(
        z: Tensor, t: float, gamma: float, layout: PairLayout, keep: bool
    ) -> tuple[Tensor, ...]:
        u, lengths = Unit.forward(z)
        q, k = layout.arrange(u)
        _, _, exponentials, sums = sum_exponentials(q, k, 2 * t, layout)
        factor = 2 * gamma * math.exp(-2 * t) / (sums.numel() * (z.shape[1] - 1))
        difference = q - q.flip(0)
        near = difference.square().sum(dim=-1, keepdim=True).mul_(-t).exp_()
        value = sums.sum() * factor - 2 * near.mean()
        if not keep:
            return (value,)
        g = torch.full_like(sums, factor * 2 * t)
        p = similarity_gradients(g, exponentials, layout)
        dq, dk, _ = gradients(p, None, layout, False, q, k, 2 * t)
        dq += difference.mul_(near.mul_(8 * t / sums.numel()))
        return value, Unit.pull(layout.gather(dq, dk, u), u, lengths)


def whole_gaussian(
    z: Float[Tensor, "v n d"], rows: Rows, t: float, gamma: float | Tensor
) -> Float[Tensor, ""] | None:
    """The gaussian loss of a small batch in one function; None where this is not possible."""
    samples = range(z.shape[1])
    anchors, candidates = (range(2), samples[rows]), (range(2), samples)
    safe = 0 < 2 * t <= MAX_SAFE_SCALE and not isinstance(gamma, Tensor)
    layout = PairLayout(anchors, candidates, "each")
    if not (safe and len(z) == 2 and len(samples) > 1 and anchors[1] and fits_whole(z, layout)):
        return None
    return GaussianLoss.of(precise(z), t, gamma, layout)


def negatives(views: int, samples: int) -> int:
    """Every other sample in the anchor's own view."""
    return samples - 1
