"""What a run does not use is not loaded; whoever asks for it finds it."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from torchmetrics.__about__ import __version__ as known_version

from cl.deferred import PACKAGES

START = """
import sys
import cl.train
heavy = ["torchmetrics.functional", "transformers", "torchvision", "scipy.stats", "sklearn", "timm"]
print(*(name for name in heavy if name in sys.modules))
"""
USE = """
import cl, torchmetrics
assert torchmetrics.__version__ == {version!r}
from torchmetrics import Metric, MetricCollection, Accuracy
from torchmetrics.classification import MulticlassAccuracy
assert type(torchmetrics).__name__ == "module" and issubclass(MulticlassAccuracy, Metric)
assert torchmetrics.metric.Metric is Metric and torchmetrics.functional.accuracy
assert type(Accuracy(task="multiclass", num_classes=3)) is MulticlassAccuracy
try:
    torchmetrics.nothing
except AttributeError as error:
    print(error)
"""
LAUNCH = """
import cl, wandb.sdk.launch
from wandb.sdk.launch.inputs.internal import StagedLaunchInputs
import sys
assert "wandb.apis.public" not in sys.modules
from wandb.sdk.launch import launch, manage_config_file
assert callable(launch) and wandb.sdk.launch.load_wandb_config and wandb.sdk.launch.agent
"""


def said(program: str) -> str:
    """What a program in a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip()


def test_the_start_loads_no_package_that_only_some_runs_use() -> None:
    assert said(START) == ""


def test_a_package_that_waits_has_all_it_has() -> None:
    found = said(USE.format(version=known_version))
    assert found == "module 'torchmetrics' has no attribute 'nothing'"


def test_the_jobs_of_wandb_wait_too() -> None:
    said(LAUNCH)


def test_a_package_that_was_loaded_before_stays_as_it_is() -> None:
    said("import torchmetrics; import cl; assert type(torchmetrics).__name__ == 'module'")


def test_a_package_whose_code_fails_fails_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "fails_late"
    package.mkdir()
    (package / "__init__.py").write_text("import fails_late.part\nraise ImportError('as it is')\n")
    (package / "part.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGES, package.name, {})
    late = import_module(package.name)
    assert late.part.x == 1
    for _ in range(2):
        with pytest.raises(ImportError, match="as it is"):
            _ = late.name
    for name in (package.name, f"{package.name}.part"):
        sys.modules.pop(name)
