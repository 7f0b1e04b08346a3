"""No loss and no method reads a number back from its device, nor copies one there from the host.

On a GPU either would let the host wait for all work that is under way. Tensors on the device `meta`
have no numbers, so what reads one fails; what is copied from the host is seen on its way.
"""

import inspect
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cl.build import build_method
from cl.config import parse_pretrain
from cl.data.batch import Batch
from cl.losses import NAMES, get_loss
from cl.methods._base import Method
from cl.nets.encoders import create
from tests.methods.made import OF_IMAGES as METHODS

PAIRWISE = [
    n for n in NAMES if list(inspect.signature(get_loss(n)).parameters)[1:3] == ["ids", "rows"]
]


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none for the device `meta`, nor a generator of random numbers."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(Method, "generator", lambda *_: None)


class FromTheHost(TorchDispatchMode):
    """Fails where a tensor is made of a Python number's or list's copy."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.lift_fresh.default:
            raise AssertionError("a Python number is copied to the device")
        if func is torch.ops.aten._to_copy.default and args[0].device != made.device:
            raise AssertionError(f"a tensor is copied from {args[0].device} to {made.device}")
        return made


@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("name", PAIRWISE)
def test_a_loss_does_not_wait(name: str, supervised: bool) -> None:
    z = torch.randn(2, 300, 8, device="meta", requires_grad=True)
    ids = torch.arange(300, device="meta") if supervised else None
    with FromTheHost():
        get_loss(name)(z, ids).backward()
    assert isinstance(z.grad, Tensor)
    assert z.grad.shape == z.shape


@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_does_not_wait(method: str) -> None:
    words = f"digits resnet6_w8 --method {method} --hidden_mlp 16 --encoding_size 8"
    config = parse_pretrain(words.split())
    with torch.device("meta"):
        module = build_method(config, create("resnet6_w8", 16), 10)
        full = torch.randn(4, 32, 3, 16, 16)
        batch = Batch([full], torch.zeros(32, dtype=torch.long), torch.arange(32))
    with FromTheHost():
        module.training_step(batch, 0)["loss"].backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
