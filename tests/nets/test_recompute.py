"""Blocks that are computed again: the same gradients and statistics, for less memory."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from cl.data.batch import Batch
from cl.methods._base import Method
from cl.nets.encoders import create
from cl.nets.lora import LoRA
from cl.nets.recompute import checkpoint_blocks, find_blocks
from cl.nets.texts import Bag
from cl.nets.towers import Towers
from tests.methods.made import made


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.dropout(self.norm(self.conv(x)).relu(), 0.3, self.training)


def own() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    return nn.Sequential(
        stem, Block(), nn.Sequential(Block(), Block()), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )


def of_timm() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=0, drop_path_rate=0.2, zero_init_last=False)


ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "resnet6": lambda: create("resnet6_w8", 16),
    "own": own,
    "timm": of_timm,
}


def stepped(encoder: Callable[[], nn.Module], name: str = "simclr", **options: object) -> Method:
    """A method after the forward and backward of a step, in float64."""
    torch.manual_seed(0)
    method = made(name, encoder(), **options).double()
    views = torch.randn(2, 6, 3, 16, 16, dtype=torch.float64)
    loss = method.training_step(Batch([views], torch.arange(6) % 3, torch.arange(6)), 0)["loss"]
    method.backward(loss)
    return method


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("resnet6", {}),
        ("own", {"mini_batch_size": 4}),
        pytest.param("own", {}, marks=pytest.mark.slow),
        pytest.param("timm", {}, marks=pytest.mark.slow),
        pytest.param("timm", {"mini_batch_size": 4}, marks=pytest.mark.slow),
    ],
)
def test_gradients_and_statistics_are_those_without(encoder: str, options: dict[str, int]) -> None:
    plain = stepped(ENCODERS[encoder], **options)
    again = stepped(ENCODERS[encoder], **options, checkpoint_activations=True)
    for (name, p), q in zip(again.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10, msg=name)
    for (name, b), c in zip(again.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(b, c), name
    assert any("running_mean" in name for name, _ in again.named_buffers())
    assert [*again.state_dict()] == [*plain.state_dict()]


def test_a_teacher_follows() -> None:
    plain, again = (
        stepped(own, "byol", checkpoint_activations=given, ema_encoder=0.9)
        for given in (False, True)
    )
    for method in (plain, again):
        method.after_step(1)
    for (name, b), c in zip(again.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(b, c), name


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fewer_activations_are_kept(encoder: str) -> None:
    held: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    def bytes_of(module: nn.Module) -> int:
        held.clear()
        given = {p.untyped_storage().data_ptr() for p in module.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            module(torch.randn(16, 3, 32, 32))
        return sum(size for place, size in held.items() if place not in given)

    module = ENCODERS[encoder]()
    whole = bytes_of(module)
    checkpoint_blocks(module)
    assert bytes_of(module) < 0.8 * whole


def test_blocks_are_those_of_stages() -> None:
    encoder = own()
    blocks = [m for m in encoder.modules() if isinstance(m, Block)]
    assert find_blocks(encoder) == [next(encoder.children()), *blocks]
    assert len(find_blocks(create("resnet6_w8", 16))) == 4


@pytest.mark.parametrize("encoder", [nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), Bag(4, rows=8)])
def test_what_has_no_blocks_is_refused(encoder: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"--checkpoint_activations: .* has no blocks"):
        checkpoint_blocks(encoder)


def test_low_rank_updates_are_refused() -> None:
    adapted = LoRA(create("resnet6_w8", 16), 2)
    for encoder in (adapted, Towers(adapted, Bag(4, rows=8), 4)):
        with pytest.raises(ValueError, match="cannot be used with --lora_rank"):
            checkpoint_blocks(encoder)
