"""Debiased contrastive loss (Chuang et al. 2020, https://arxiv.org/abs/2007.00224, eq. 7, 8)."""

from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows
from cl.losses.hcl import hcl


def debiased(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.5,  # the paper's
    tau_plus: float = 0.1,  # the paper's for CIFAR-10
) -> Float[Tensor, ""]:
    r"""NT-Xent without the positives that hide among the negatives: `hcl` with $\beta = 0$.

    Args:
        z: see `contrast`.
        ids: samples with equal ids do not push each other; the positive is the own other view.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        tau_plus: the share of the "negatives" that are of the anchor's class.

    Two samples at right angles that agree, temperature 1, tau_plus 0: log((e + 2) / e).

    >>> import torch
    >>> round(debiased(torch.eye(2).expand(2, 2, 2), temperature=1.0, tau_plus=0.0).item(), 4)
    0.5514
    """
    return hcl(z, ids, rows, temperature=temperature, tau_plus=tau_plus, beta=0.0)
