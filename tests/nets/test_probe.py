"""The probe's parts against torch's own and against loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl.nets.probe import Probe, Standardize, cross_entropy, topk_correct


def features(seed: int = 0) -> Tensor:
    """Of two views of seven samples, each dimension with a mean and a deviation of its own."""
    torch.manual_seed(seed)
    return torch.randn(2, 7, 4).double() * torch.tensor([0.1, 1, 3, 10]) + torch.arange(4)


@pytest.mark.parametrize(
    ("dtype", "exact"),
    [(torch.float32, 5e-6), (torch.float64, 1e-12)],
)
def test_standardize_is_batch_norm_without_parameters(dtype: torch.dtype, exact: float) -> None:
    """In evaluation too, but for the factor n / (n - 1) of the variances that BatchNorm keeps."""
    ours, theirs = Standardize(4).to(dtype), nn.BatchNorm1d(4, affine=False).double()
    close = {"rtol": exact, "atol": exact}
    for seed in range(3):
        h = features(seed).to(dtype)
        expected = theirs(h.double().flatten(0, 1)).unflatten(0, (2, 7))
        torch.testing.assert_close(ours(h).double(), expected, **close)
    first = 0.9**3  # what is left of the initial variance of one
    theirs.running_var.sub_(first).mul_(13 / 14).add_(first)
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    ours.eval(), theirs.eval()
    expected = theirs(h.double().flatten(0, 1)).unflatten(0, (2, 7))
    torch.testing.assert_close(ours(h).double(), expected, **close)
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_statistics_are_constants_to_the_gradient(training: bool) -> None:
    h, module = features().float().requires_grad_(), Standardize(4).train(training)
    weight = torch.randn(2, 7, 4)
    (module(h) * weight).sum().backward()
    variance = h.detach().flatten(0, 1).var(0, correction=0) if training else torch.ones(4)
    torch.testing.assert_close(h.grad, weight / (variance + 1e-5).sqrt(), rtol=1e-5, atol=1e-6)
    assert not any(b.requires_grad for b in module.buffers())


@pytest.mark.parametrize("standardize", [True, False])
def test_a_probe_is_linear(standardize: bool) -> None:
    """The scale of its features is nothing to it where they are standardized."""
    torch.manual_seed(0)
    probe, h = Probe(4, 3, standardize=standardize), features().float()
    given = h - h.mean((0, 1)) if standardize else h
    given = given / h.flatten(0, 1).std(0, correction=0) if standardize else given
    expected = given @ probe.linear.weight.T + probe.linear.bias
    torch.testing.assert_close(probe(h), expected, rtol=1e-3, atol=1e-3)
    assert [n for n, _ in probe.named_parameters()] == ["linear.weight", "linear.bias"]


LABELS = {
    "all": [0, 2, 1, 1, 0, 2, 2],
    "some": [-1, 2, 1, -1, 0, -7, 2],
    "one": [-1, -1, -1, 4, -1, -1, -1],
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("views", [1, 3])
def test_cross_entropy_is_torchs_of_the_labeled(kind: str, views: int) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(views, 7, 5, requires_grad=True), torch.tensor(LABELS[kind])
    kept = labels >= 0
    expected = torch.stack([F.cross_entropy(x[kept], labels[kept]) for x in logits]).mean()
    ours = cross_entropy(logits, labels)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(expected, logits)
    )


def test_without_labels_the_loss_is_zero() -> None:
    logits = torch.randn(2, 7, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((7,), -1))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("k", [1, 2, 5, 9])
@pytest.mark.parametrize("kind", LABELS)
def test_hits_are_counted(kind: str, k: int) -> None:
    torch.manual_seed(0)
    logits, expected = torch.randn(7, 5), 0
    for row, label in zip(logits.tolist(), LABELS[kind], strict=True):
        order = sorted(range(5), key=lambda c: -row[c])
        expected += label in order[:k]
    assert topk_correct(logits, torch.tensor(LABELS[kind]), k) == expected
