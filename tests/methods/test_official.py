"""The official objectives, projector included, written down from the papers' code, on our weights.

The official programs put one view after the other through encoder and heads, which matters to the
heads' BatchNorm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl.losses.nt_xent import nt_xent
from cl.losses.vicreg import vicreg
from cl.methods.barlow_twins import BarlowTwins
from cl.methods.simsiam import SimSiam
from cl.methods.supcon import SupCon
from cl.methods.vicreg import VICReg

N, D = 12, 10


class Identity(nn.Identity):
    num_features = D


def features() -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, N, D, generator=g, dtype=torch.float64).requires_grad_()


LABELS = torch.arange(N) % 4


def same(method: nn.Module, official: Tensor, h: Tensor) -> None:
    """The value, and the gradients of the features and of every weight."""
    ours = method.objective(h, LABELS)
    torch.testing.assert_close(ours, official, rtol=1e-9, atol=1e-9)
    wanted = [h, *(p for n, p in method.named_parameters() if "probe" not in n)]
    torch.testing.assert_close(
        torch.autograd.grad(ours, wanted),
        torch.autograd.grad(official, wanted),
        rtol=1e-6,
        atol=1e-9,
    )


def off_diagonal(x: Tensor) -> Tensor:
    return x[~torch.eye(len(x), dtype=torch.bool)]


def test_barlow_twins() -> None:
    torch.manual_seed(0)
    method, h = (
        BarlowTwins(Identity(), hidden=16, dim=8, lamb=0.0051, classes=4).double(),
        features(),
    )
    z1, z2 = method.projector(h[0]), method.projector(h[1])
    bn = nn.BatchNorm1d(8, affine=False).double()
    c = bn(z1).T @ bn(z2) / N
    on_diag = (torch.diagonal(c) - 1).pow(2).sum()
    same(method, on_diag + 0.0051 * off_diagonal(c).pow(2).sum(), h)
    layers = [type(m) for m in method.projector]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]


def test_vicreg() -> None:
    torch.manual_seed(0)
    method, h = VICReg(Identity(), vicreg, hidden=16, dim=8, classes=4).double(), features()
    x, y = method.projector(h[0]), method.projector(h[1])
    close = F.mse_loss(x, y)
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    deviations = [torch.sqrt(z.var(dim=0) + 0.0001) for z in (x, y)]
    spread = sum(torch.mean(F.relu(1 - d)) / 2 for d in deviations)
    covariances = [(z.T @ z) / (N - 1) for z in (x, y)]
    apart = sum(off_diagonal(c).pow(2).sum() / 8 for c in covariances)
    same(method, 25 * close + 25 * spread + apart, h)


def test_simsiam() -> None:
    torch.manual_seed(0)
    method = SimSiam(Identity(), hidden=16, dim=8, pred_hidden=4, classes=4).double()
    h = features()
    z1, z2 = method.projector(h[0]), method.projector(h[1])
    p1, p2 = method.predictor(z1), method.predictor(z2)
    criterion = nn.CosineSimilarity(dim=1)
    loss = -(criterion(p1, z2.detach()).mean() + criterion(p2, z1.detach()).mean()) * 0.5
    same(method, loss, h)
    assert not method.projector[-1].affine
    assert [type(m) for m in method.predictor] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


def test_supcon() -> None:
    """The authors' SupConLoss with its two factors, both views as anchors, temperature 0.07."""
    torch.manual_seed(0)

    def loss(z: Tensor, ids: Tensor, rows: slice) -> Tensor:
        return nt_xent(z, ids, rows, temperature=0.07)

    method, h = SupCon(Identity(), loss, hidden=D, dim=8, classes=4).double(), features()
    contrast = F.normalize(method.projector(h.flatten(0, 1)), dim=1)
    logits = contrast @ contrast.T / 0.07
    logits = logits - logits.max(dim=1, keepdim=True)[0].detach()
    others = 1 - torch.eye(2 * N, dtype=torch.float64)
    positive = (LABELS[:, None] == LABELS[None]).double().repeat(2, 2) * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    same(method, -((positive * log_prob).sum(1) / positive.sum(1)).mean(), h)
    assert [type(m) for m in method.projector] == [nn.Linear, nn.ReLU, nn.Linear]
