"""Debiased contrastive loss (Chuang et al. 2020, https://arxiv.org/abs/2007.00224)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import PartialShare, Positive
from cl.losses._pairwise import ALL, Rows
from cl.losses.hcl import hcl


def debiased(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.5,  # the paper's
    tau_plus: PartialShare = 0.1,  # the paper's for CIFAR-10
) -> Float[Tensor, ""]:
    r"""NT-Xent corrected for negatives that are of the anchor's class: `hcl` with $\beta = 0$.

    Use it with few classes, where random negatives are often false ones.

    Args:
        z: see `cl.losses`; of more than two views the loss is the mean over their pairs.
        ids: samples with equal ids are no negatives; the positive is the sample's own other view.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        tau_plus: the assumed share of negatives that are of the anchor's class; below 1.

    Returns:
        The mean over the local anchors, a scalar.

    Example:
        Two samples at right angles that agree, temperature 1, tau_plus 0: log((e + 2) / e).

        >>> import torch
        >>> round(debiased(torch.eye(2).expand(2, 2, 2), temperature=1.0, tau_plus=0.0).item(), 4)
        0.5514

        Equivalent, for two views, to:

        >>> z = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> e = (z.flatten(0, 1) @ z.flatten(0, 1).T / 0.5).exp()
        >>> pos, neg = e.diagonal(4).repeat(2), e[~torch.eye(4).repeat(2, 2).bool()].view(8, 6)
        >>> ng = ((neg.sum(1) - 0.1 * 6 * pos) / 0.9).clamp(min=6 * torch.tensor(-1 / 0.5).exp())
        >>> torch.testing.assert_close(debiased(z), -(pos / (pos + ng)).log().mean())
    """
    return hcl(z, ids, rows, temperature=temperature, tau_plus=tau_plus, beta=0.0)


def negatives(views: int, samples: int) -> int:
    """Every view of every other sample."""
    return views * (samples - 1)
