"""Losses as their papers write them: all pairs in a matrix, the gradient by autograd.

`FORMULAS` has them by the names of ours; what else one takes is in `arguments`, as ours takes it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

T = 0.2  # temperature
CLASSES = 100  # of SupCon
SCORES = 5  # different ones, of graded pairs of texts
WIDE = 2048  # dimensions of what correlates dimensions, as its authors' projectors have 4 times
WITHOUT = ("kcl", "cosent", "angle", "barlow_twins", "vicreg")  # have no temperature

Formula = Callable[..., Tensor]


def nt_xent(z: Tensor) -> Tensor:
    """With the matrix of all similarities, as the paper's listing has it."""
    x = F.normalize(z.flatten(0, 1), dim=1)
    similar = (x @ x.T / T).fill_diagonal_(-torch.inf)
    n = z.shape[1]
    return F.cross_entropy(similar, torch.arange(2 * n, device=z.device).roll(n))


def dcl_symmetric(z: Tensor) -> Tensor:
    """All views' anchors; the sample's own two views masked."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    similar = x @ x.T / T
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    positive = similar.diagonal(n).repeat(2)
    return (similar.masked_fill(own, -torch.inf).logsumexp(1) - positive).mean()


def dcl(z: Tensor) -> Tensor:
    """The first view's anchors."""
    log_sums, cosine = of_first_view(z)
    return (log_sums - cosine / T).mean()


def dclw(z: Tensor) -> Tensor:
    """Positives weighted, sigma = 0.5; no gradient through the weights."""
    log_sums, cosine = of_first_view(z)
    weight = 2 - len(cosine) * (cosine / 0.5).softmax(0)
    return (log_sums - weight.detach() * cosine / T).mean()


def of_first_view(z: Tensor) -> tuple[Tensor, Tensor]:
    """The first view's log-sum-exp over all other samples, and the cosine of the positive."""
    u, v = F.normalize(z, dim=2)
    own = torch.eye(len(u), dtype=torch.bool, device=z.device).repeat(1, 2)
    similar = (u @ torch.cat([u, v]).T / T).masked_fill(own, -torch.inf)
    return similar.logsumexp(1), (u * v).sum(1)


def dhel(z: Tensor) -> Tensor:
    """The authors' formula with exponentials: one matrix for each view."""
    u, v = F.normalize(z, dim=2)
    loss = z.new_zeros(())
    for x in (u, v):
        off = (x @ x.T / T).exp() * (1 - torch.eye(len(x), device=z.device))
        loss = loss + off.sum(1).log().mean() / 2
    return loss - (u * v).sum(1).mean() / T


def mv_dhel(z: Tensor) -> Tensor:
    """The views' energies summed; of two views there is one pair to align."""
    z = F.normalize(z, dim=2)
    own = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    energy = (z @ z.mT / T).masked_fill(own, -torch.inf).logsumexp(2).sum(0)
    return (energy - (z[0] * z[1]).sum(1) / T).mean()


def mv_infonce(z: Tensor) -> Tensor:
    """One term for both views of a sample."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    similar = (x @ x.T / T).fill_diagonal_(-torch.inf)
    positive = torch.stack([similar.diagonal(n), similar.diagonal(-n)]).logsumexp(0)
    return (similar.logsumexp(1).view(2, n).logsumexp(0) - positive).mean()


def clip(z: Tensor) -> Tensor:
    """The paper's listing."""
    u, v = F.normalize(z, dim=2)
    similar, labels = u @ v.T / T, torch.arange(len(u), device=z.device)
    return (F.cross_entropy(similar, labels) + F.cross_entropy(similar.T, labels)) / 2


def mnrl(z: Tensor) -> Tensor:
    """Queries and documents, as sentence-transformers has it."""
    u, v = F.normalize(z, dim=2)
    return F.cross_entropy(u @ v.T / T, torch.arange(len(u), device=z.device))


def info_nce_angle(z: Tensor) -> Tensor:
    """A margin of 10 degrees on the positives' angles."""
    u, v = F.normalize(z, dim=2)
    angle = (u * v).sum(1).acos() + math.radians(10)
    similar = (u @ v.T).diagonal_scatter(angle.cos()) / T
    return F.cross_entropy(similar, torch.arange(len(u), device=z.device))


def relic(z: Tensor) -> Tensor:
    """InfoNCE and the divergence of the two ways' softmaxes, alpha = 0.5, without a target."""
    u, v = F.normalize(z, dim=2)
    similar, labels = u @ v.T / T, torch.arange(len(u), device=z.device)
    loss = z.new_zeros(())
    for one, other in ((similar, similar.T), (similar.T, similar)):
        logs = one.log_softmax(1), other.log_softmax(1)
        apart = F.kl_div(*logs, reduction="batchmean", log_target=True)
        loss = loss + (F.nll_loss(logs[0], labels) + 0.5 * apart) / 2
    return loss


def kcl(z: Tensor) -> Tensor:
    """The Gaussian kernel of all distances within a view."""
    u, v = F.normalize(z, dim=2)
    near = (-2 * (u - v).square().sum(1)).exp().mean()
    far = torch.stack([(-2 * torch.pdist(x).square()).exp().mean() for x in (u, v)])
    return 2 * (16 * far.mean() - near)


def sigmoid(z: Tensor) -> Tensor:
    """SigLIP's listing."""
    u, v = F.normalize(z, dim=2)
    signs = 2 * torch.eye(len(u), device=z.device) - 1
    return -F.logsigmoid(signs * (u @ v.T / T - 10)).sum() / len(u)


def supcon(z: Tensor, ids: Tensor) -> Tensor:
    """The mean over positives outside of the logarithm, with both matrices."""
    x, ids = F.normalize(z.flatten(0, 1), dim=1), ids.repeat(2)
    similar = (x @ x.T / T).fill_diagonal_(-torch.inf)
    positive = (ids[:, None] == ids).fill_diagonal_(False)
    log = similar.log_softmax(1).masked_fill(~positive, 0.0)
    return -(log.sum(1) / positive.sum(1)).mean()


def debiased(z: Tensor) -> Tensor:
    """The authors' code, tau+ = 0.1."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    near = (x @ x.T / T).exp()
    positive = near.diagonal(n).repeat(2)
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    count = 2 * n - 2
    negative = near.masked_fill(own, 0.0).sum(1)
    negative = ((negative - 0.1 * count * positive) / 0.9).clamp(min=count * math.exp(-1 / T))
    return -(positive / (positive + negative)).log().mean()


def hcl(z: Tensor) -> Tensor:
    """The authors' code, tau+ = 0.1, beta = 1."""
    x, n = F.normalize(z.flatten(0, 1), dim=1), z.shape[1]
    near = (x @ x.T / T).exp()
    positive = near.diagonal(n).repeat(2)
    own = torch.eye(n, dtype=torch.bool, device=z.device).repeat(2, 2)
    count, near = 2 * n - 2, near.masked_fill(own, 0.0)
    hard = count * near.square().sum(1) / near.sum(1)
    negative = ((hard - 0.1 * count * positive) / 0.9).clamp(min=count * math.exp(-1 / T))
    return -(positive / (positive + negative)).log().mean()


def cosent(z: Tensor, scores: Tensor) -> Tensor:
    """The differences of all pairs of pairs that are scored differently."""
    return ranked(F.cosine_similarity(z[0], z[1]), scores)


def angle(z: Tensor, scores: Tensor) -> Tensor:
    """As `cosent`, of the angles of complex vectors."""
    u, v = torch.complex(*F.normalize(z, dim=2).chunk(2, dim=2))
    return ranked(torch.view_as_real((u * v.conj()).sum(1)).sum(1).abs(), scores)


def ranked(similar: Tensor, scores: Tensor) -> Tensor:
    """log(1 + the sum of exponentials of 20 times the differences in the wrong order)."""
    differences = 20 * (similar[:, None] - similar)[scores[:, None] < scores]
    return F.softplus(differences.logsumexp(0))


def barlow_twins(z: Tensor) -> Tensor:
    """The authors' code."""
    u, v = (F.batch_norm(x, None, None, training=True) for x in z)
    c = u.T @ v / len(u)
    return (c.diagonal() - 1).square().sum() + 5e-3 * off_diagonal(c).square().sum()


def vicreg(z: Tensor) -> Tensor:
    """The authors' code."""
    loss = 25 * F.mse_loss(z[0], z[1])
    for x in z:
        hinge = F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()
        x = x - x.mean(0)
        covariance = x.T @ x / (len(x) - 1)
        loss = loss + 25 * hinge / 2 + off_diagonal(covariance).square().sum() / x.shape[1]
    return loss


def off_diagonal(c: Tensor) -> Tensor:
    """The entries beside the diagonal of a square matrix."""
    d = len(c)
    return c.flatten()[:-1].view(d - 1, d + 1)[:, 1:]


FORMULAS: dict[str, Formula] = {
    "nt_xent": nt_xent,
    "dcl_symmetric": dcl_symmetric,
    "dcl": dcl,
    "dclw": dclw,
    "dhel": dhel,
    "mv_dhel": mv_dhel,
    "mv_infonce": mv_infonce,
    "clip": clip,
    "info_nce": clip,  # in both directions it is the same formula
    "info_nce_angle": info_nce_angle,
    "mnrl": mnrl,
    "relic": relic,
    "kcl": kcl,
    "sigmoid": sigmoid,
    "supcon": supcon,
    "debiased": debiased,
    "hcl": hcl,
    "cosent": cosent,
    "angle": angle,
    "barlow_twins": barlow_twins,
    "vicreg": vicreg,
}


def arguments(name: str, samples: int, device: str | torch.device = "cpu") -> dict[str, Any]:
    """What a loss takes beside embeddings and a temperature."""
    each = torch.arange(samples, device=device)
    if name == "supcon":
        return {"ids": each % CLASSES}
    return {"scores": (each % SCORES).float()} if name in ("cosent", "angle") else {}
