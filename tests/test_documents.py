"""Modules of the documents work, and every script says what the programs take."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cl.config import Linear, Pretrain, parse_linear, parse_pretrain
from cl.data.augment.recipe import preset
from cl.data.sets import load
from tests.documents import DOCUMENTS as READ
from tests.documents import blocks, commands
from tests.methods.made import OF_IMAGES as METHODS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SCRIPTS = sorted(ROOT.glob("bash_files/run_*.sh"))
PARSE = {"main_contrastive.py": parse_pretrain, "main_linear.py": parse_linear}


def parsed(words: list[str]) -> Pretrain | Linear:
    """The configuration of a command line, from the program's name on."""
    program, *rest = words
    return PARSE[program](rest)


MODULES = {
    name: text
    for file in DOCUMENTS
    for name, text in re.findall(
        r"```python\n# (\w+\.py)\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL
    )
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own modules, as the documents have them."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("modules")
def test_a_data_set_of_ones_own_is_read(tmp_path: Path) -> None:
    """That of docs/data.md."""
    labels, pixels = np.arange(60) % 3, np.zeros((60, 64, 64, 3), np.uint8)
    np.savez(tmp_path / "flowers.npz", labels=labels, pixels=pixels)
    source = load("flowers:read", str(tmp_path))
    assert (len(source.train), len(source.val), preset("flowers:read").size) == (54, 6, 64)


EXECUTED = {  # what is no module of the reader's, which a command names
    "README.md": "end_to_end/test_readme.py",
    "api.md": "end_to_end/test_api_documents.py",
    "data.md": "data/test_documents.py",
    "evaluation.md": "eval/test_python.py",
    "image_text.md": "end_to_end/test_captions.py",
}
QUOTED = {"ARCHITECTURE.md": "cl/methods/simsiam.py", "extending.md": "cl/losses/dcl.py"}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_python_in_a_document_is_executed_or_quoted(file: Path) -> None:
    named = [word for each in DOCUMENTS for line in commands(each) for word in line]
    for block in re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL):
        if module := re.match(r"# (\w+)\.py\n", block):
            assert any(f"{module[1]}:" in word for word in named)
        elif file.name in QUOTED:
            assert block in (ROOT / QUOTED[file.name]).read_text()
        else:
            assert file.name in (ROOT / "tests" / EXECUTED[file.name]).read_text()


@pytest.mark.parametrize("file", READ, ids=lambda file: file.name)
def test_a_command_finds_its_python_in_a_shell_without_an_environment(file: Path) -> None:
    lines = [*blocks(file), *re.findall(r"`([^`\n]+)`", file.read_text(encoding="utf-8"))]
    lost = r"(?:[A-Z_]+=\S+ )*(?:python (?:main_|-m cl\b)|cl-\w+ [A-Z])"
    assert [line for line in lines if re.match(lost, line)] == []


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The scripts beside an interpreter that only notes what it is given."""
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bash_files", tmp_path / "bash_files")
    for name in (".venv/bin/python", "bin/srun"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
        file.chmod(0o755)
    return tmp_path


RUNS = [(s, []) for s in SCRIPTS if s.stem != "run_linear"]  # whose words are the run's
RUNS += [(ROOT / "bash_files" / "run_cifar10.sh", ["--method", method]) for method in METHODS]
RUNS += [
    (ROOT / "bash_files" / f"run_{s}.sh", ["--loss", "kcl"]) for s in ("cifar10", "contrastive")
]


@pytest.mark.parametrize(("script", "more"), RUNS, ids=[" ".join([s.stem, *m]) for s, m in RUNS])
@pytest.mark.filterwarnings("ignore:--")
def test_a_scripts_command_is_taken(script: Path, more: list[str], copied: Path) -> None:
    """Flags behind the script's own come last, so that they win."""
    first = {"run_torchrun": ["run1"], "run_contrastive": [], "run_text": []}.get(
        script.stem, ["/"]
    )
    subprocess.run(
        ["bash", copied / "bash_files" / script.name, *first, *more, "--seed", "7"],
        env=os.environ | {"PATH": f"{copied}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "17"},
        cwd=copied,
        check=True,
        capture_output=True,
    )
    words = (copied / "words").read_text().splitlines()
    words = words[words.index("main_contrastive.py") :]
    while "--gpus" in words:
        at = words.index("--gpus")
        end = next((i for i in range(at + 1, len(words)) if words[i].startswith("-")), len(words))
        del words[at:end]
    config = parsed(words)
    assert config.seed == 7
    assert isinstance(config, Pretrain)
    assert more[1:] in ([], [config.method], [config.loss])


def test_the_tests_that_documents_name_are_there() -> None:
    named = [
        (ROOT / path, name)
        for file in DOCUMENTS
        for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", file.read_text("utf-8"))
    ]
    assert named
    assert [at for at in named if f"def {at[1]}(" not in at[0].read_text()] == []
