"""What a run does not use is not loaded; whoever asks for it finds it."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torchmetrics
from torchmetrics.__about__ import __version__ as known_version

from cl.deferred import PACKAGES, Package

START = """
import sys
import cl.train
heavy = ["torchmetrics.functional", "transformers", "torchvision", "scipy.stats", "sklearn", "timm"]
import wandb.sdk.launch.inputs.internal
heavy += ["wandb.apis.public", "matplotlib", "torch._dynamo.eval_frame"]
import torch
net = torch.nn.Linear(2, 2)
for optimizer in (torch.optim.SGD(net.parameters()), torch.optim.AdamW(net.parameters())):
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
print(*(name for name in heavy if name in sys.modules))
"""
COMPILED = """
import cl
import torch
import lightning_fabric.wrappers
from cl.deferred import waits
from torch.compiler import disable

known = lightning_fabric.wrappers.OptimizedModule
inside = []

@disable
def alone(x):
    "As it is."
    inside.append(torch.compiler.is_compiling())
    return x + 1

class Doubled:
    @disable(recursive=False)
    def twice(self, x):
        return alone(x) * 2

x, net = torch.ones(2), torch.nn.Linear(2, 2)
assert (alone.__name__, alone.__doc__) == ("alone", "As it is.")
assert Doubled().twice(x).tolist() == [4, 4]
torch._dynamo.graph_break()
assert not isinstance(net, known)
assert waits("torch._dynamo")
compiled = torch.compile(lambda x: Doubled().twice(x * 2) * 3, backend="eager")
assert compiled(x).tolist() == [18, 18]
assert not waits("torch._dynamo")
from torch._dynamo.utils import counters
assert not any("import_module" in why for why in counters["graph_break"])
assert inside == [False, False]
assert isinstance(torch.compile(net, backend="eager"), known)
assert not isinstance(net, known)
print("as ever")
"""
SUBMODULE = """
import sys
import cl
import torch
import torch._dynamo.utils as first
from cl.deferred import waits
assert torch._dynamo.utils is first is sys.modules["torch._dynamo.utils"]
assert torch._dynamo.output_graph.counters is first.counters
assert first.__spec__.origin == first.__file__
assert not waits("torch._dynamo")
print("once")
"""
CODE = """
from waits.part import x
counted = globals().get("counted", 0) + 1
if x.fails:
    raise ImportError("as it is")
y = "made"
"""
PART = "class x:\n    fails = False\n"


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package that waits: its code makes `y` of what its submodule has."""
    package = tmp_path / "waits"
    package.mkdir()
    (package / "__init__.py").write_text(CODE)
    (package / "part.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGES, "waits", Package({"known": lambda: "at once"}))
    yield import_module(package.name)
    for name in ("waits", "waits.part"):
        sys.modules.pop(name, None)


def test_the_start_loads_no_package_that_only_some_runs_use() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("program", "last"), [(COMPILED, "as ever"), (SUBMODULE, "once")])
def test_the_compiler_is_the_same_when_it_is_asked_for(program: str, last: str) -> None:
    """What it must leave alone is left alone, also what was marked before it was loaded."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=240
    )
    assert done.stdout.strip() == last, done.stderr


def test_a_measure_of_torchmetrics_draws_its_values() -> None:
    measure = import_module("torchmetrics.aggregation").MeanMetric()
    measure.update(0.5)
    _, axes = measure.plot()
    assert [line.get_ydata()[0] for line in axes.get_lines()] == [0.5]


def test_torchmetrics_has_what_it_has() -> None:
    assert torchmetrics.__version__ == known_version  # pyright: ignore[reportPrivateImportUsage]
    part = import_module("torchmetrics.classification")
    assert issubclass(part.MulticlassAccuracy, torchmetrics.Metric)
    assert torchmetrics.Metric is import_module("torchmetrics.metric").Metric


def test_known_names_and_submodules_run_no_code_of_the_package(waits: ModuleType) -> None:
    assert waits.known == "at once"
    assert waits.part.x.fails is False
    assert "counted" not in vars(waits)


@pytest.mark.parametrize(("base", "type_"), [("part", "Deferred"), ("absent", "module")])
def test_a_base_comes_first(
    base: str, type_: str, waits: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, as in another version, the package's code runs as ever."""
    for name in ("waits", "waits.part"):
        sys.modules.pop(name, None)
    monkeypatch.setitem(PACKAGES, waits.__name__, Package(base=base))
    again = import_module(waits.__name__)
    assert "waits.part" in sys.modules
    assert type(again).__name__ == type_


def test_the_whole_comes_before_its_parts(
    waits: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that it loads is loaded once."""
    sys.modules.pop("waits.part", None)
    monkeypatch.setitem(PACKAGES, waits.__name__, Package(whole=True))
    part = import_module(f"{waits.__name__}.part")
    assert waits.counted == 1
    assert part.x is waits.x
    assert part is sys.modules["waits.part"]
    assert part.__spec__.origin == part.__file__


def test_any_other_name_runs_it_once(waits: ModuleType) -> None:
    assert waits.y == "made"
    with pytest.raises(AttributeError, match="module 'waits' has no attribute 'nothing'"):
        _ = waits.nothing
    assert waits.counted == 1
    assert type(waits) is ModuleType


def test_what_a_package_has_not_is_said_as_of_any(waits: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'waits' has no attribute '__nothing__'"):
        _ = waits.__nothing__
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'waits'"):
        exec("from waits import nothing")


def test_a_package_whose_code_fails_fails_each_time(waits: ModuleType) -> None:
    waits.part.x.fails = True
    for _ in range(2):
        with pytest.raises(ImportError, match="as it is"):
            _ = waits.y
    waits.part.x.fails = False
    assert waits.y == "made"
