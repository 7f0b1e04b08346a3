"""The scripts of bash_files pass words on as they are: from any folder, with any name, unsplit."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cl.config import ConfigError, Pretrain, parse_linear, to_json

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("bash_files/*.sh"), *ROOT.glob(".ci/*")])
RUN = sorted([*ROOT.glob("bash_files/run_*.sh"), ROOT / "bash_files" / "benchmark.sh"])
PLACE = "a b;$(touch ran)`touch ran`*'\"\\ \n-c"  # a folder's name
WORDS = ["--name", "*", "--project", PLACE, "--name=$(touch ran)", "", "~", "{0..3}", "a  b", "\n"]
STUB = """#!/bin/bash
if [[ ${1:-} == -c ]]; then PYTHONPATH=$PACKAGE exec "$REAL" "$@"; fi
printf '%s\\0' "$@" > "$WORDS"
"""
Call = Callable[..., list[str]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Runs a script of a copied repository whose Python only notes its words."""
    repository = tmp_path / PLACE
    shutil.copytree(ROOT / "bash_files", repository / "bash_files")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, repository)
    for name in (".venv/bin/python", "bin/srun"):
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_text(STUB)
        (repository / name).chmod(0o755)
    (tmp_path / "elsewhere" / "bash_files").mkdir(parents=True)  # where CDPATH would lead
    real = shutil.which("python3")
    assert real

    def go(script: str, *words: str, cwd: Path = tmp_path, expect: int = 0) -> list[str]:
        file = repository / "bash_files" / script
        there = repository if script == "run_slurm.sh" else cwd
        done = subprocess.run(
            ["bash", os.path.relpath(file, there), *words],
            cwd=there,
            env=os.environ
            | {"PATH": f"{repository}/bin:{os.environ['PATH']}", "WORDS": str(tmp_path / "words")}
            | {"CDPATH": str(tmp_path / "elsewhere"), "REAL": real, "SLURM_JOB_ID": "17"}
            | {"PACKAGE": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, done.stderr
        assert not [*tmp_path.rglob("ran")]
        noted = tmp_path / "words"
        return noted.read_text().split("\0")[:-1] if noted.exists() else []

    return go


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_bash_can_read_it(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    words = ["shellcheck", "-x", "-P", "SCRIPTDIR", *SCRIPTS]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [s.name for s in RUN if s.stem != "run_linear"])
def test_words_arrive_as_they_are(script: str, call: Call, tmp_path: Path) -> None:
    place = f"data {PLACE}"
    first = {"run_contrastive": [], "run_text": [], "run_torchrun": ["run*1"]}
    first = first.get(Path(script).stem, [place])
    found = call(script, *first, *WORDS)
    assert found[-len(WORDS) :] == WORDS
    if script == "run_slurm.sh":
        assert place in found
    elif script == "run_clip.sh":
        assert f"captions:{place}" in found
        assert str(tmp_path) in found
    elif first and script != "run_torchrun.sh":
        assert str(tmp_path / place) in found


@pytest.mark.parametrize(
    "script", ["run_slurm.sh", "run_torchrun.sh", "run_clip.sh", "run_vicreg.sh"]
)
@pytest.mark.parametrize("words", [[], ["--epochs", "3"], ["-x"]])
def test_a_flag_is_no_folder(script: str, words: list[str], call: Call) -> None:
    assert "main_contrastive.py" not in call(script, *words, expect=2)


def test_the_store_of_torchrun_is_at_the_given_address(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endpoint() -> str:
        found = call("run_torchrun.sh", "run")
        return found[found.index("--rdzv-endpoint") + 1]

    assert endpoint() == "localhost:29500"
    monkeypatch.setenv("HEAD", "192.0.2.1")
    monkeypatch.setenv("PORT", "1234")
    assert endpoint() == "192.0.2.1:1234"


@pytest.mark.skipif(not shutil.which("flock"), reason="flock is not installed")
def test_two_processes_install_once(tmp_path: Path) -> None:
    """And the second one finds all there."""
    shutil.copytree(ROOT / "bash_files", tmp_path / "bash_files")
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\n[[ $1 == -c ]] || { echo "$2" >>notes; sleep 1; }\n')
    python.chmod(0o755)
    words = ["bash", "bash_files/setup.sh"]
    both = [
        subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "notes").read_text() == "uv\n"
    assert said[0].startswith("setup: installing into .venv")
    assert said[1] == "setup: waiting for another process that installs into .venv\n"
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).stderr == b""


def made_run(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True)
    config = json.loads(to_json(Pretrain(dataset="cifar10", encoder="resnet18")))
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "encoder.safetensors").write_bytes(b"")
    return folder


def test_an_evaluation_takes_the_words_of_its_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / PLACE / "trained_models"
    old = made_run(runs / "z old", data_folder="/old")
    os.utime(old / "encoder.safetensors", (1, 1))
    place = f"/--data {PLACE}\n--output\n/etc"
    made_run(runs / PLACE, data_folder=place, image_size=64)
    for words, folder in (([], PLACE), ([PLACE], PLACE), (["z old"], "z old")):
        found = call("run_linear.sh", *words, "--name", PLACE)
        assert found[0] == "main_linear.py"
        monkeypatch.chdir(tmp_path / PLACE)
        config = parse_linear(found[1:])
        assert config.data_folder == (place if folder == PLACE else "/old")
        assert config.pretrained_feature_extractor == f"trained_models/{folder}"
        assert (config.name, config.output) == (PLACE, None)


@pytest.mark.parametrize(
    "changes", [{"dataset": "--config"}, {"encoder": "-x"}, {"train_dir": "\0"}]
)
def test_a_run_from_elsewhere_adds_no_flag(
    call: Call, tmp_path: Path, changes: dict[str, str]
) -> None:
    run = made_run(tmp_path / "run", **changes)
    found = call("run_linear.sh", "run")
    assert found[:3] == ["main_linear.py", "--pretrained_feature_extractor", str(run)]
    assert not {*changes.values()} & {*found}


@pytest.mark.parametrize(
    ("dataset", "encoder"), [("wordnet", "bag_w8"), ("captions:c.jsonl", "resnet6_w8")]
)
def test_texts_are_searched_and_nothing_learns(
    dataset: str, encoder: str, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made_run(tmp_path / "run", dataset=dataset, encoder=encoder, data_folder="/data")
    config = parse_linear(call("run_linear.sh", "run", "--seed", "3")[1:])
    assert (config.dataset, config.eval, config.seed) == (dataset, ("retrieval",), 3)
    assert config.batch_size == 256
    assert capsys.readouterr().err == ""


def test_a_data_set_of_ones_own_is_named_by_the_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flowers.py").write_text("def read(name, where): ...")
    monkeypatch.syspath_prepend(tmp_path)
    made_run(tmp_path / "run", dataset="flowers:read", data_folder="/data", channels=4)
    words = call("run_linear.sh", "run", "flowers:read")[1:]
    config = parse_linear(words)
    assert (config.dataset, config.data_folder, config.channels) == ("flowers:read", "/data", 4)
    with pytest.raises(ConfigError, match=r"^name DATASET flowers:read: code is not imported"):
        parse_linear(call("run_linear.sh", "run")[1:])
