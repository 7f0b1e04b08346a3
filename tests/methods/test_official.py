"""The official objectives, projector included, written down from the papers' code, on our weights.

The official heads are built as their programs build them and take our weights, all of them. The
official programs put one view after the other through encoder and heads, which matters to the
heads' BatchNorm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl.losses.barlow_twins import barlow_twins
from cl.losses.nt_xent import nt_xent
from cl.losses.vicreg import vicreg
from cl.methods._base import Method
from cl.methods.barlow_twins import BarlowTwins
from cl.methods.simsiam import SimSiam
from cl.methods.supcon import SupCon
from cl.methods.vicreg import VICReg

N, D, HIDDEN, DIM = 12, 10, 16, 8


class Identity(nn.Identity):
    num_features = D


def features() -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, N, D, generator=g, dtype=torch.float64).requires_grad_()


LABELS = torch.arange(N) % 4


def filled(
    official: nn.Sequential, ours: nn.Module, idle: frozenset[str] = frozenset()
) -> nn.Module:
    """The official head with our weights; `idle` biases, before a BatchNorm, say nothing: zero."""
    zeros = {k: torch.zeros_like(v) for k, v in official.state_dict().items() if k in idle}
    official.load_state_dict(ours.state_dict() | zeros, strict=True)
    return official.double().train()


def same(method: Method, official: Tensor, h: Tensor, heads: dict[nn.Module, nn.Module]) -> None:
    """The value, and the gradients of the features and of every weight."""
    ours = method.objective(h, LABELS)
    torch.testing.assert_close(ours, official, rtol=1e-9, atol=1e-9)
    mine, theirs = [h], [h]
    for head, twin in heads.items():
        of_twin = dict(twin.named_parameters())
        for name, p in head.named_parameters():
            mine.append(p)
            theirs.append(of_twin[name])
    trained = [p for n, p in method.named_parameters() if not n.startswith("probe.")]
    assert len(mine) == 1 + len(trained)
    torch.testing.assert_close(
        torch.autograd.grad(ours, mine),
        torch.autograd.grad(official, theirs),
        rtol=1e-6,
        atol=1e-9,
    )


def off_diagonal(x: Tensor) -> Tensor:
    return x[~torch.eye(len(x), dtype=torch.bool)]


def test_barlow_twins() -> None:
    torch.manual_seed(0)

    def loss(z: Tensor, ids: Tensor | None, rows: slice) -> Tensor:
        return barlow_twins(z, ids, rows, lamb=0.0051)

    method = BarlowTwins(Identity(), loss, hidden_mlp=HIDDEN, encoding_size=DIM, classes=4).double()
    sizes, layers = [D, HIDDEN, HIDDEN, DIM], []
    for i in range(len(sizes) - 2):
        layers.append(nn.Linear(sizes[i], sizes[i + 1], bias=False))
        layers += [nn.BatchNorm1d(sizes[i + 1]), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=False))
    projector = filled(nn.Sequential(*layers), method.projector)
    h = features()
    z1, z2 = projector(h[0]), projector(h[1])
    bn = nn.BatchNorm1d(DIM, affine=False).double()
    c = bn(z1).T @ bn(z2) / N
    on_diag = (torch.diagonal(c) - 1).pow(2).sum()
    value = on_diag + 0.0051 * off_diagonal(c).pow(2).sum()
    same(method, value, h, {method.projector: projector})


def test_vicreg() -> None:
    """Its hidden layers have biases, which the BatchNorm behind them takes out again."""
    torch.manual_seed(0)
    method = VICReg(Identity(), vicreg, hidden_mlp=HIDDEN, encoding_size=DIM, classes=4).double()
    f, layers = [D, HIDDEN, HIDDEN, DIM], []
    for i in range(len(f) - 2):
        layers += [nn.Linear(f[i], f[i + 1]), nn.BatchNorm1d(f[i + 1]), nn.ReLU(True)]
    layers.append(nn.Linear(f[-2], f[-1], bias=False))
    idle = frozenset({"0.bias", "3.bias"})
    projector = filled(nn.Sequential(*layers), method.projector, idle)
    h = features()
    x, y = projector(h[0]), projector(h[1])
    close = F.mse_loss(x, y)
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    deviations = [torch.sqrt(z.var(dim=0) + 0.0001) for z in (x, y)]
    spread = sum(torch.mean(F.relu(1 - d)) / 2 for d in deviations)
    covariances = [(z.T @ z) / (N - 1) for z in (x, y)]
    apart = sum(off_diagonal(c).pow(2).sum() / DIM for c in covariances)
    same(method, 25 * close + 25 * spread + apart, h, {method.projector: projector})


def test_simsiam() -> None:
    torch.manual_seed(0)
    method = SimSiam(
        Identity(), hidden_mlp=HIDDEN, encoding_size=DIM, pred_hidden_mlp=4, classes=4
    ).double()
    projector = nn.Sequential(
        *(nn.Linear(D, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True)),
        *(nn.Linear(HIDDEN, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True)),
        *(nn.Linear(HIDDEN, DIM), nn.BatchNorm1d(DIM, affine=False)),
    )
    projector = filled(projector, method.projector, frozenset({"6.bias"}))
    predictor = nn.Sequential(
        *(nn.Linear(DIM, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(inplace=True)),
        nn.Linear(4, DIM),
    )
    predictor = filled(predictor, method.predictor)
    h = features()
    z1, z2 = projector(h[0]), projector(h[1])
    p1, p2 = predictor(z1), predictor(z2)
    criterion = nn.CosineSimilarity(dim=1)
    loss = -(criterion(p1, z2.detach()).mean() + criterion(p2, z1.detach()).mean()) * 0.5
    same(method, loss, h, {method.projector: projector, method.predictor: predictor})


def test_supcon() -> None:
    """The authors' SupConLoss with its two factors, both views as anchors, temperature 0.07."""
    torch.manual_seed(0)

    def loss(z: Tensor, ids: Tensor, rows: slice) -> Tensor:
        return nt_xent(z, ids, rows, temperature=0.07)

    method = SupCon(Identity(), loss, hidden_mlp=D, encoding_size=DIM, classes=4).double()
    head = nn.Sequential(nn.Linear(D, D), nn.ReLU(inplace=True), nn.Linear(D, DIM))
    head, h = filled(head, method.projector), features()
    contrast = F.normalize(head(h.flatten(0, 1)), dim=1)
    logits = contrast @ contrast.T / 0.07
    logits = logits - logits.max(dim=1, keepdim=True)[0].detach()
    others = 1 - torch.eye(2 * N, dtype=torch.float64)
    positive = (LABELS[:, None] == LABELS[None]).double().repeat(2, 2) * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    value = -((positive * log_prob).sum(1) / positive.sum(1)).mean()
    same(method, value, h, {method.projector: head})
