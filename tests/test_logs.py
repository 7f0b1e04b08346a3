"""metrics.csv keeps every row; wandb offline is complete, asks nothing and cannot stop a run."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
from torch import nn

import cl
import main_contrastive
import main_linear
from cl import evaluation, logs
from cl.config.check import installed
from cl.metrics import read_metrics


def test_rows_survive_a_resume_and_the_redone_future_does_not(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    log = logs.CSVLog(file)
    for step in (10, 20, 30):
        log.log_metrics({"epoch": 0, "train/loss": step / 7}, step)
    logs.CSVLog(file, step=20).log_metrics({"epoch": 1, "val/probe_top1": 0.5}, 25)
    rows = read_metrics(file)
    assert [int(r["step"]) for r in rows] == [10, 20, 25]
    assert float(rows[0]["train/loss"]) == pytest.approx(10 / 7, rel=1e-5)
    assert rows[-1]["val/probe_top1"] == "0.5"


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("columns", [{"lr": 0.5}, {"lr": 0.5, "of/its_own": 1.0}])
def test_rows_wait_for_a_disk_with_room(
    tmp_path: Path, columns: dict[str, float], last: bool
) -> None:
    """A row is written whole or not at all, and none is lost; the limit stands for a full disk.

    Also where the run ends before another row.
    """
    file = tmp_path / "metrics.csv"
    log = logs.CSVLog(file)
    log.log_metrics({"lr": 0.5}, 1)
    before, limit = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limit[1]))
    try:
        with pytest.warns(UserWarning, match="1 rows wait to be written: .*once an hour"):
            log.log_metrics(columns, 2)
        log.log_metrics(columns, 3)  # is not said again
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert file.read_bytes() == before
    if last:
        log.finalize("success")
    else:
        log.log_metrics({"lr": 0.4}, 4)
    rows = read_metrics(file)
    assert [int(row["step"]) for row in rows] == [1, 2, 3, *([] if last else [4])]
    assert [row.get("of/its_own", "") for row in rows[1:3]] == [
        "1" if columns.keys() > {"lr"} else ""
    ] * 2


def test_a_method_has_columns_of_its_own(tmp_path: Path) -> None:
    """They appear with their first number; a resumed run keeps them."""
    file = tmp_path / "metrics.csv"
    log = logs.CSVLog(file)
    log.log_metrics({"lr": 0.5}, 1)
    log.log_metrics({"lr": 0.4, "schedule/gamma": 1.0}, 2)
    logs.CSVLog(file, step=2).log_metrics({"lr": 0.3, "schedule/gamma": 0.9}, 3)
    rows = read_metrics(file)
    assert [r["schedule/gamma"] for r in rows] == ["", "1", "0.9"]
    assert [r["lr"] for r in rows] == ["0.5", "0.4", "0.3"]


def test_a_key_is_found_where_wandb_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not logs.logged_in()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0123\n")
    (tmp_path / "netrc").chmod(0o600)
    assert logs.logged_in()
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert logs.logged_in()


SCRIPT = """
import sys, warnings
from pathlib import Path
from cl import logs
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    log = logs.wandb_log({mode!r}, Path(sys.argv[1]), run_id="abcd1234", name="trial",
                         project="cl-test", config={{"lr": 0.3, "method": "simclr"}})
    if log is not None:
        log.log_metrics({{"train/loss": 1.5, "val/probe_top1": 0.9, "lr": 0.1}}, 7)
        log.experiment.finish()
print("STARTED", log is not None)
print("SAID", *(str(w.message) for w in said))
"""


SECRETS = ("WANDB_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY")


def run(
    mode: str, folder: Path, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """One wandb run in a process of its own, as wandb keeps global state."""
    if not installed("wandb"):
        pytest.skip("wandb is not installed")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    clean |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    clean |= {"NETRC": str(folder / "no-netrc"), "HOME": str(folder)} | env
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(mode=mode), str(folder)],
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=cwd,
    )


def inspect(folder: Path) -> dict[str, dict[str, float | str]]:
    """What wandb's own reader finds in the offline run below a folder."""
    (found,) = folder.glob("wandb/offline-run-*")
    program = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
    return json.loads(
        subprocess.run([*program, str(found)], capture_output=True, check=True).stdout
    )


def test_without_an_account_the_offline_run_is_complete(tmp_path: Path) -> None:
    assert "STARTED True" in run("auto", tmp_path).stdout
    found = inspect(tmp_path)
    assert found["config"] == {"lr": 0.3, "method": "simclr"}
    assert found["summary"]["train/loss"] == 1.5
    assert found["summary"]["val/probe_top1"] == 0.9
    assert found["summary"]["trainer/global_step"] == 7


def test_wandb_is_told_no_secret(tmp_path: Path) -> None:
    """Neither those of the environment nor that in Git's address of the repository."""
    place = tmp_path / "repository"
    place.mkdir()
    for words in ("init -q", "remote add origin https://SECRET1:SECRET2@github.com/a/b.git"):
        subprocess.run(["git", *words.split()], cwd=place, check=True)
    secrets = {name: f"SECRET-{name}-{'x' * 40}"[:40] for name in SECRETS}
    assert "STARTED True" in run("offline", tmp_path, place, **secrets).stdout
    files = [file for file in (tmp_path / "wandb").rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    assert [file for file in files if b"SECRET" in file.read_bytes()] == []


def test_a_run_keeps_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, f"SECRET-{name}")
    words = "digits resnet6_w4 --max_steps 2 --batch_size 64 --num_workers 0 --wandb off --output"
    assert main_contrastive.main([*words.split(), str(tmp_path), "--no-baseline"]) == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"config.json", "last.ckpt", "encoder.safetensors"} <= {file.name for file in files}
    assert [file for file in files if b"SECRET" in file.read_bytes()] == []
    assert "SECRET" not in "".join(capfd.readouterr())


def test_an_error_of_wandb_s_is_said_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "SECRETKEY")
    error = OSError("no http://user:SECRET@proxy:9/ and no https://SECRET@b.c/d with SECRETKEY")
    said = logs.without_secrets(error)
    assert said == "no http://proxy:9/ and no https://b.c/d with ***"


def test_an_error_ends_the_run_in_wandb_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next run of the process would log into the one that failed."""
    wandb = pytest.importorskip("wandb")
    runs = list[Mock]()

    def init(**_: Any) -> Mock:
        runs.append(Mock(offline=True))
        return runs[-1]

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(logs.Wandb, "log_metrics", lambda *_: None)
    how: dict[str, Any] = {"wandb": "offline", "output": str(tmp_path), "num_workers": 0}
    monkeypatch.setattr(evaluation, "evaluate_each", fail)
    with pytest.raises(RuntimeError, match="it broke"):
        cl.evaluate(nn.Flatten(), "digits", "knn", **how)
    monkeypatch.setattr(pl.Trainer, "fit", fail)
    with pytest.raises(RuntimeError, match="it broke"):
        cl.pretrain("resnet6_w4", "digits", **how)
    assert [run.finish.call_args.kwargs for run in runs] == [{"exit_code": 1}] * 2


@pytest.mark.slow
def test_a_folder_without_rights_leaves_the_training_alone(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = run("offline", tmp_path, WANDB_DIR=str(blocked))
    assert "STARTED" in done.stdout  # whatever wandb does about it, nothing is raised


def test_off_is_off(tmp_path: Path) -> None:
    log = logs.wandb_log("off", tmp_path, run_id="x", name=None, project="cl-test", config={})
    assert log is None
    assert not list(tmp_path.iterdir())


def test_a_broken_wandb_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(logs.WandbLogger, "log_metrics", fail)
    log = logs.Wandb.__new__(logs.Wandb)
    with pytest.warns(UserWarning, match=r"wandb stopped \(gone\)"):
        log.log_metrics({"train/loss": 1.0}, 1)
    log.log_metrics({"train/loss": 1.0}, 2)  # silent: a second warning would be an error here


def test_what_wandb_is_told_of_a_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reports: None,
) -> None:
    """A pretraining and the evaluation of it, on the command line; wandb itself is not asked."""
    wandb = pytest.importorskip("wandb")
    told, runs = list[dict[str, Any]](), list[Mock]()

    def init(**given: Any) -> Mock:
        told.append(given)
        runs.append(Mock(id=given["id"], url="https://wandb.ai/a/b", offline=bool(runs)))
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(logs.Wandb, "log_metrics", lambda *_: None)
    line = ["digits", "resnet6_w4", "--output", str(tmp_path), "--num_workers", "0"]
    line += ["--wandb", "offline"]
    words = ["--run_id", "first", "--max_steps", "2", "--batch_size", "64", "--hidden_mlp", "32"]
    words += ["--wandb_tags", "a,b", "--wandb_notes", "mine", "--wandb_artifact"]
    assert main_contrastive.main([*line, *words]) == 0
    assert "wandb             https://wandb.ai/a/b\n" in capsys.readouterr().out
    evaluated = ["--pretrained_feature_extractor", str(tmp_path / "first"), "--eval", "knn"]
    assert main_linear.main([*line, *evaluated, "--wandb_entity", "team"]) == 0
    assert "https://wandb.ai" not in capsys.readouterr().out
    pretraining, evaluation = told
    assert pretraining["job_type"] == "pretraining"
    assert (pretraining["tags"], pretraining["notes"]) == (["a", "b"], "mine")
    assert pretraining["config"]["derived"]["learning_rate"] == 0.3 * 64 / 256
    assert pretraining["config"]["derived"]["warmup_epochs"] == pytest.approx(0.1 * 2 / 22)
    assert (evaluation["job_type"], evaluation["group"]) == ("evaluation", "first")
    assert evaluation["entity"] == "team"
    summary = runs[0].summary.update.call_args.args[0]
    result = json.loads((tmp_path / "first" / "result.json").read_text())
    assert summary["trained/linear_top1"] == result["trained"]["linear_top1"]
    assert "untrained/knn_top1" in summary
    assert {"views"} <= runs[0].log.call_args.args[0].keys()
    (artifact,) = runs[0].log_artifact.call_args.args
    assert (artifact.type, list(artifact.manifest.entries)) == ("model", ["encoder.safetensors"])
    assert not runs[1].log_artifact.called


def test_tensorboard_has_the_same_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    words = "digits resnet6_w4 --max_steps 2 --batch_size 64 --num_workers 0 --wandb off"
    words += " --logger tensorboard --run_id first --no-baseline --output"
    assert main_contrastive.main([*words.split(), str(tmp_path)]) == 0
    found = accumulator(str(tmp_path / "first" / "tensorboard"))
    found.Reload()
    (row,) = read_metrics(tmp_path / "first" / "metrics.csv")
    (point,) = found.Scalars("train/loss")
    assert (point.step, point.value) == (2, pytest.approx(float(row["train/loss"]), rel=1e-5))
