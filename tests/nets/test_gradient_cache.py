"""Gradient caching: chunks are the whole batch, for less memory; nothing moves twice."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cl.nets import gradient_cache
from cl.nets.encoders import create


def encoded(encoder: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def gradients(encoder: nn.Module, h: Tensor) -> list[Tensor]:
    """Of a loss that couples all samples."""
    encoder.zero_grad()
    (h.flatten(0, 1) @ h.flatten(0, 1).T).logsumexp(dim=1).mean().backward()
    return [p.grad.clone() for p in encoder.parameters()]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 11, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_chunks_are_the_whole(x: Tensor, size: int) -> None:
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16, norm="group").double()
    encode = encoded(encoder)
    chunked = gradient_cache.embed_in_chunks(encode, x, size, encoder)
    torch.testing.assert_close(chunked, encode(x), rtol=1e-12, atol=1e-12)
    pairs = zip(gradients(encoder, chunked), gradients(encoder, encode(x)), strict=True)
    for ours, whole in pairs:
        torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-12)


def test_a_chunk_has_its_random_numbers_again(x: Tensor) -> None:
    """Dropout's gradient is zero exactly where its output was; by other numbers it would not be."""

    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(768, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x.flatten(1) * self.scale, 0.5)

    encoder = Dropped()
    h = gradient_cache.embed_in_chunks(encoded(encoder), x, 4, encoder)
    h.sum().backward()
    torch.testing.assert_close(encoder.scale.grad, h.detach().sum(dim=(0, 1)))


def test_running_statistics_move_once_a_chunk(x: Tensor) -> None:
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16).double()
    twin = copy.deepcopy(encoder)
    gradients(encoder, gradient_cache.embed_in_chunks(encoded(encoder), x, 4, encoder))
    for part in x.tensor_split(3, dim=1):
        encoded(twin)(part)
    for (name, ours), right in zip(encoder.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, right), name


def test_frozen_statistics_stand_still_and_chunks_are_the_whole(x: Tensor) -> None:
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16).double()
    for _ in range(20):
        encoded(encoder)(x)
    before = copy.deepcopy(encoder.state_dict())
    ours = gradients(
        encoder, gradient_cache.embed_in_chunks(encoded(encoder), x, 4, encoder, "frozen")
    )
    assert all(torch.equal(b, before[n]) for n, b in encoder.named_buffers())
    assert encoder.training
    assert all(m.training for m in encoder.modules())
    whole = gradients(encoder.eval(), encoded(encoder)(x))
    for a, b in zip(ours, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", ["chunk", "frozen"])
def test_without_gradients_as_with_them(x: Tensor, norm: gradient_cache.Norm) -> None:
    """As a moving target is asked: where nothing is recomputed the statistics move no other way."""
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16).double()
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        ours = gradient_cache.embed_in_chunks(encoded(encoder), x, 4, encoder, norm)
    right = gradient_cache.embed_in_chunks(encoded(twin), x, 4, twin, norm)
    torch.testing.assert_close(ours, right.detach(), rtol=1e-12, atol=1e-12)
    for (name, moved), expected in zip(encoder.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(moved, expected), name


@pytest.mark.parametrize("more", [False, True])
def test_at_most_a_chunk_is_kept(x: Tensor, more: bool) -> None:
    """What autograd holds between forward and backward: the inputs, and the last chunk's forward.

    Where more goes through the encoder, next to nothing beside the inputs.
    """
    torch.manual_seed(0)
    encoder = create("resnet6_w8", 16, norm="group").double()
    held: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    def bytes_of(forward: Callable[[Tensor], Tensor]) -> int:
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            forward(x)
        return sum(held.values())

    def in_chunks(x: Tensor) -> Tensor:
        return gradient_cache.embed_in_chunks(encoded(encoder), x, 4, encoder, more=more)

    chunked = bytes_of(in_chunks) - x.nbytes
    last = x.tensor_split(3, dim=1)[-1]
    kept = 0 if more else bytes_of(lambda _: encoded(encoder)(last))
    assert kept <= chunked <= kept + 0.01 * (bytes_of(encoded(encoder)) - x.nbytes)
