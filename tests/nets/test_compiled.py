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
from tests.nets.made_texts import tiny

REPOSITORY = Path(__file__).parents[2]
TEXTS = """
import sys
import torch
from cl.nets.compiled import compiled_training
from cl.nets.texts import encoder_of

seen = []
def backend(graph, inputs):
    seen.append(graph)
    return graph

compile_ = torch.compile
torch.compile = lambda *given, **options: compile_(*given, **options, backend=backend)
for name in ("bag_w8", f"hf:{sys.argv[1]}"):
    encoder = encoder_of(name).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batches = [torch.arange(4 * width).reshape(4, width) % 40 for width in (5, 9, 31, 12)]
    for x in batches:
        x[1, 4:] = -1
    expected = [encoder(x) for x in batches]
    with compiled_training([encoder]):
        found, before = [encoder(batches[0])], len(seen)
        found += [encoder(x) for x in batches[1:]]
        assert len(seen) == before > 0, (name, before, len(seen))
        encoder(torch.ones(4, 33, dtype=torch.long))
        assert len(seen) > before, name
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    seen.clear()
"""
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
from tests.nets.made_texts import tiny

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


def test_texts_are_compiled_for_a_few_lengths(tmp_path: Path) -> None:
    """In a process of its own: what checks shapes in tests cannot be traced."""
    words = [sys.executable, "-c", TEXTS, str(tiny(tmp_path))]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
