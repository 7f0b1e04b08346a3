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
heavy += ["wandb.apis.public"]
print(*(name for name in heavy if name in sys.modules))
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
