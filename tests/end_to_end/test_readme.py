"""The README's Python and its four boxes are run as they stand."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., Path]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README, re.DOTALL))
COMMANDS = {
    module: shlex.split(line)
    for line in re.findall(r"^    \.venv/bin/python main_\w+\.py (.*)$", README, re.MULTILINE)
    for module in MODULES
    if f"{module}:" in line
}
SHORT = ["--epochs", "1", "--max_steps", "2", "--batch_size", "64", "--num_workers", "1"]


@pytest.fixture
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


def test_every_box_has_a_command() -> None:
    assert COMMANDS.keys() == MODULES.keys() == {"my_loss", "my_method", "my_eval", "my_data"}


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize("module", ["my_loss", "my_method", "my_data"])
def test_a_box_trains(module: str, pretrain: Run) -> None:
    run = pretrain(*COMMANDS[module], *SHORT, "--no-baseline", "--precision", "32")
    assert (run / "encoder.safetensors").exists()


@pytest.mark.usefixtures("boxes")
def test_the_box_of_an_evaluation_evaluates(pretrain: Run, linear: Run, digits: list[str]) -> None:
    run = pretrain(*digits, "--max_steps", "2", "--no-baseline")
    words = [str(run) if "RUN_ID" in word else word for word in COMMANDS["my_eval"]]
    words[1] = digits[1]
    assert "centroid" in (linear(*words) / "cards.json").read_text()


def test_ten_lines_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"```python\n(import .*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    program = program.replace("FakeData(512", "FakeData(96").replace(
        "batch_size=128", f"batch_size=48, wandb='off', output={str(tmp_path)!r}"
    )
    program = program.replace("epochs=10)", f"epochs=1, wandb='off', output={str(tmp_path)!r})")
    names: dict[str, object] = {}
    exec(program, names)
    assert names["results"].keys() == {"linear", "knn"}  # pyright: ignore[reportAttributeAccessIssue]
