"""BatchNorm over all processes where there is one, and GroupNorm in its place.

What several processes make of it is in tests/distributed/.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from cl.nets import norm
from cl.nets.encoders import create
from cl.nets.norm import Synced2d, SyncEverywhere, group_norm


def test_second_derivatives_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics are constants to the backward pass, so that they would be wrong."""
    layer = SyncEverywhere().apply(nn.Sequential(nn.BatchNorm1d(3)))[0].train()
    monkeypatch.setattr(norm, "world_size", lambda: 2)
    x = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d])
def test_synced_is_batch_norm(
    kind: type[nn.Module], affine: bool, momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value, gradients and running statistics, by its own formulas as in one of many processes."""
    torch.manual_seed(0)
    theirs = kind(3, affine=affine, momentum=momentum).double().train()
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours = SyncEverywhere().apply(copy.deepcopy(nn.Sequential(theirs)))[0]
    assert type(ours) is norm.synced_kinds()[kind]
    monkeypatch.setattr(norm, "world_size", lambda: 2)  # `total` still knows of one
    for seed in range(3):
        torch.manual_seed(seed)
        x = torch.randn(4, 3, *(() if kind is nn.BatchNorm1d else (5, 5))).double() * 3 + 7
        x.requires_grad_()
        outcomes = []
        for layer in (ours, theirs):
            y = layer(x)
            wanted = [x, *layer.parameters()]
            gradients = torch.autograd.grad((y * y.detach().roll(1, 0)).sum(), wanted)
            outcomes.append([y, *gradients, *layer.buffers()])
        torch.testing.assert_close(*outcomes, rtol=1e-9, atol=1e-9)


def test_under_autocast_statistics_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm, "world_size", lambda: 2)
    torch.manual_seed(0)
    ours, theirs = Synced2d(3), nn.BatchNorm2d(3)
    x = (torch.randn(8, 3, 4, 4) + 40).bfloat16().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    (gradient,) = torch.autograd.grad(ours(x).float().square().sum(), x)
    assert gradient.dtype == torch.bfloat16


def test_in_evaluation_nothing_changes() -> None:
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16)
    x = torch.randn(2, 3, 16, 16)
    encoder(x)
    expected = encoder.eval()(x)
    assert torch.equal(SyncEverywhere().apply(encoder)(x), expected)
    assert {type(m) for m in encoder.modules()} & {nn.BatchNorm2d, Synced2d} == {Synced2d}


def test_group_norm_keeps_activations_and_scales() -> None:
    """EfficientNet's norm has its activation inside; a residual branch may start at zero."""
    torch.manual_seed(0)
    model = create("efficientnet_b0", 32, norm="group")
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert sum(isinstance(m, nn.SiLU) for m in model.modules()) == sum(
        isinstance(m, nn.SiLU) for m in create("efficientnet_b0", 32).modules()
    )
    zeroed = create("resnet18", 32, zero_init_residual=True, norm="group")
    assert not zeroed.layer1[0].bn2.weight.any()


def test_group_norm_by_hand() -> None:
    """Two channels in the greatest number of groups that divides 32 and the width: 2."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(2))
    group_norm(model)
    x = torch.randn(3, 2, 4, 4)
    flat: Tensor = x.flatten(2)
    variance = flat.var(2, keepdim=True, correction=0)
    right = (flat - flat.mean(2, keepdim=True)) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(model(x), right.view_as(x))
    assert isinstance(model[0], nn.GroupNorm)
    assert model[0].num_groups == 2


@pytest.mark.parametrize("name", ["resnet6_w8", "resnet18"])
def test_with_group_norm_a_sample_is_alone(name: str) -> None:
    torch.manual_seed(0)
    encoder = create(name, 16, norm="group").double()
    x = torch.randn(4, 3, 16, 16).double()
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]))
    batch = create(name, 16).double()
    assert F.mse_loss(batch(x)[:2], batch(x[:2])) > 1e-6


@pytest.mark.parametrize("momentum", [0.1, None])
def test_still_is_batch_norm_without_memory(momentum: float | None) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum))
    twin, x = copy.deepcopy(layer), torch.randn(4, 3, 5, 5) + 2
    layer(x), twin(x)
    with norm.frozen_stats(layer):
        assert torch.equal(layer(2 * x), copy.deepcopy(twin)(2 * x))
    held, expected = layer[0], twin[0]
    assert isinstance(held, nn.BatchNorm2d)
    assert isinstance(expected, nn.BatchNorm2d)
    assert torch.equal(held.running_mean, expected.running_mean)  # pyright: ignore[reportArgumentType]
    assert torch.equal(held.running_var, expected.running_var)  # pyright: ignore[reportArgumentType]
    assert held.momentum == momentum
