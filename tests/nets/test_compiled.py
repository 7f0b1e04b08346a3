"""Compiled training computes what is computed without a compiler; evaluation is not compiled."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cl.methods import get_method
from cl.nets.compiled import check_compiler, compiled_training
from cl.nets.encoders import create

REPOSITORY = Path(__file__).parents[2]
NOWHERE = "no-such-compiler"
with_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


@pytest.fixture
def x() -> Tensor:
    return torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of what is traced, in place of compiled code."""
    seen: list[torch.Size] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> nn.Module:
        seen.append(inputs[-1].shape)
        return graph

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile_(*a, **k, backend=backend))
    return seen


def small() -> nn.Sequential:
    """Of torch's modules alone: what checks shapes in tests cannot be traced."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


# In a process of its own, in which functions do not check shapes.
COMPARISON = """
import copy, torch
from cl.nets.compiled import compiled_training
from cl.nets.encoders import create

torch.manual_seed(0)
encoder, x = create("resnet6_w8", 16), torch.randn(12, 3, 16, 16)
plain = copy.deepcopy(encoder)
with compiled_training([encoder]):
    features = encoder(x)
    features.square().mean().backward()
expected = plain(x)
expected.square().mean().backward()
torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
for p, q in zip(encoder.parameters(), plain.parameters(), strict=True):
    assert (p.grad - q.grad).norm() < 1e-4 * q.grad.norm()
for b, c in zip(encoder.buffers(), plain.buffers(), strict=True):
    torch.testing.assert_close(b, c)
"""


@pytest.mark.slow
@with_compiler
def test_features_gradients_and_statistics_are_those_without() -> None:
    subprocess.run([sys.executable, "-c", COMPARISON], check=True, cwd=REPOSITORY)


def test_a_module_is_compiled_in_place_while_it_is_trained(
    x: Tensor, calls: list[torch.Size]
) -> None:
    encoder = small()
    names = [*encoder.state_dict()]
    with compiled_training([encoder]):
        assert [*encoder.state_dict()] == names
        encoder.eval()(x)
        assert not calls
        encoder.train()(x)
        traced = len(calls)
        encoder(x)
        assert len(calls) == traced > 0
        copy.deepcopy(encoder)(x)  # the copy is not compiled
        assert len(calls) == traced
    encoder(x)
    assert len(calls) == traced


def test_more_modules_than_torch_compiles_by_default(calls: list[torch.Size]) -> None:
    modules = [nn.Linear(width, 2) for width in range(1, 13)]
    with compiled_training(modules):
        for width, module in enumerate(modules, 1):
            module(torch.ones(3, width))
    assert len(calls) == len(modules)


def test_what_is_compiled_are_encoders_and_heads() -> None:
    torch.manual_seed(0)
    byol = get_method("byol")(create("resnet6_w8", 16), classes=3, hidden_mlp=8)
    parts = byol.embedders
    for module in (byol.encoder, byol.projector, byol.predictor, *byol.teacher.module):
        assert any(module is part for part in parts)
    assert not any(byol.probe is part for part in parts)


@pytest.mark.slow  # what compiles is loaded
def test_without_a_compiler_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (NOWHERE,))
    with pytest.raises(ValueError, match=f"^--compile: nothing .*: .*{NOWHERE}") as refused:
        check_compiler(torch.device("cpu"))
    assert "\n" not in str(refused.value)
