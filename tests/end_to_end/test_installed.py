"""Installed by pip the commands run from any folder, and runs are kept in the current one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
DIGITS = "digits resnet6_w4 --batch_size 128 --precision 32 --wandb off"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of the repository is installed."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")  # which a build writes into
    listed = subprocess.run(
        ["git", "ls-files", "cl", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in filter(lambda name: (REPOSITORY / name).exists(), listed):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((REPOSITORY / name).read_bytes())
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
    subprocess.run([*PIP, *build], check=True, cwd=wheels, timeout=120)
    (wheel,) = wheels.glob("cl-*.whl")
    install = ["install", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([*PIP, *install], check=True, cwd=wheels, timeout=120)
    return site


def command(site: Path, cwd: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(site / "bin" / name), *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize(
    ("name", "program"), [("cl-pretrain", "main_contrastive"), ("cl-evaluate", "main_linear")]
)
def test_the_commands_are_the_programs(
    name: str, program: str, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    done = command(site, tmp_path, name, "--help")
    with pytest.raises(SystemExit):
        __import__(program).main(["--help"])
    assert done.returncode == 0
    flags = [
        [w for w in text.split() if w[:2] == "--"]
        for text in (done.stdout, capsys.readouterr().out)
    ]
    assert flags[0] == flags[1]
    assert "--batch_size" in flags[0]
    assert "Traceback" not in command(site, tmp_path, name, "digits").stderr


@pytest.mark.slow  # all kernels are compiled anew
def test_a_run_is_kept_in_the_current_folder(site: Path, tmp_path: Path) -> None:
    words = f"{DIGITS} --max_steps 2 --hidden_mlp 16 --run_id first --no-baseline".split()
    done = command(site, tmp_path, "cl-pretrain", *words)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "trained_models" / "first"
    assert (run / "encoder.safetensors").exists()
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("next"))
    assert line.split()[1:3] == ["cl-evaluate", "--pretrained_feature_extractor"]
    given = ["--epochs", "2", "--wandb", "off"]
    done = command(site, tmp_path, *line.split()[1:], *given, "--run_id", "second")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trained_models" / "second" / "result.json").exists()


def test_the_list_of_imagenet_100s_classes_comes_along(site: Path) -> None:
    lists = [p.relative_to(REPOSITORY) for p in REPOSITORY.glob("cl/**/*.txt")]
    assert lists
    assert all((site / name).read_bytes() == (REPOSITORY / name).read_bytes() for name in lists)
