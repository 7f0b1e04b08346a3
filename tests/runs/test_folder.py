"""A run's name is one for all its processes, its folder is never another run's."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

import cl.runs.folder as runs
from cl import trainer
from cl.config import Pretrain, configure, launcher, parse_pretrain, programs, to_json
from cl.config.schema import options_of
from cl.runs import hold, lock
from tests.runs.made import made_run

MANY = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of the test's own."""
    environ: dict[str, str] = {}
    for module in (runs, launcher):
        monkeypatch.setattr(module, "os", SimpleNamespace(environ=environ))
    return environ


def test_a_made_id_is_new_and_inherited(environ: dict[str, str]) -> None:
    made = runs.new_id(None)
    assert re.fullmatch("[a-z0-9]{8}", made)
    assert runs.new_id(None) == environ["CL_RUN_ID"] == made
    environ.clear()
    assert runs.new_id(None) != made


@pytest.mark.parametrize("more", [{}, MANY, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1"}])
def test_processes_of_one_run_inherit_its_id(more: dict[str, str], environ: dict[str, str]) -> None:
    environ |= more | {"CL_RUN_ID": "abcd1234"}
    assert runs.new_id(None) == "abcd1234"
    assert runs.new_id("given") == "given"


@pytest.mark.parametrize(
    ("by", "variables"),
    [
        ("torchrun", MANY | {"TORCHELASTIC_RUN_ID": "none"}),
        ("SLURM", {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}),
    ],
)
def test_a_launchers_processes_need_a_given_id(
    by: str, variables: dict[str, str], environ: dict[str, str]
) -> None:
    environ |= variables
    with pytest.raises(ValueError, match=f"--run_id: needed under {by}"):
        runs.new_id(None)
    assert "CL_RUN_ID" not in environ
    assert runs.new_id("given") == "given"


def test_under_slurm_the_job_is_the_run(environ: dict[str, str]) -> None:
    environ |= {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "17"}
    assert runs.new_id(None) == "slurm-17"
    environ["SLURM_JOB_NAME"] = "bash"  # an interactive shell, where nobody started a second one
    assert runs.new_id(None) != "slurm-17"


def test_a_run_starts_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "abc"
    runs.start(folder, '{"lr": 1}')
    assert {p.name for p in folder.iterdir()} == {"config.json", "owner.json"}
    runs.leave(folder)
    assert [p.name for p in folder.iterdir()] == ["config.json"]
    words = rf"--run_id abc: .*; --resume_training_from {re.escape(str(folder))} continues it"
    for name, content in {
        "last.ckpt": "",
        "previous.ckpt": "",
        "encoder.safetensors": "",
        "cards.json": "{}",
    }.items():
        (folder / name).write_text(content)
        with pytest.raises(ValueError, match=words):
            runs.start(folder, '{"lr": 2}')
        assert (folder / "config.json").read_text() == '{"lr": 1}'
        assert {p.name for p in folder.iterdir()} == {"config.json", name}
        (folder / name).unlink()


def test_a_run_that_left_nothing_does_not_keep_its_name(tmp_path: Path) -> None:
    """One that was refused after its folder was made, at its first step say."""
    runs.start(tmp_path, '{"lr": 1}')
    (tmp_path / "metrics.csv").write_text("step,lr\n1,0.1\n")
    (tmp_path / "result.json").write_text('{"untrained": {}}')
    runs.start(tmp_path, '{"lr": 2}')
    assert (tmp_path / "config.json").read_text() == '{"lr": 2}'


def test_a_folder_without_a_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    runs.start(tmp_path, "{}")
    runs.leave(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "notes.txt"}


def test_a_folder_of_other_runs_stays_theirs(tmp_path: Path) -> None:
    """As that of a comparison, whose cells a config.json above them would hide."""
    folder = tmp_path / "losses"
    made_run(folder / "DHEL-s0-1a2b3c4d")
    words = f"--run_id losses: {folder} holds other runs, as DHEL-s0-1a2b3c4d; choose another name"
    with pytest.raises(ValueError, match=re.escape(words)):
        runs.start(folder, "{}")
    assert [p.name for p in folder.iterdir()] == ["DHEL-s0-1a2b3c4d"]


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in (1, 0):
        monkeypatch.setattr(runs.rank_zero_only, "rank", rank, raising=False)
        assert runs.other_rank() is (rank == 1)
        runs.start(tmp_path / "run", str(rank))
        assert (tmp_path / "run").exists() is (rank == 0)


def test_the_run_of_a_checkpoint(tmp_path: Path) -> None:
    runs.start(tmp_path / "run", "{}")
    assert runs.folder_of(tmp_path / "run" / "last.ckpt") == tmp_path / "run"
    stray = tmp_path / "last.ckpt"
    with pytest.raises(ValueError, match=f"--resume_training_from {stray}: no config.json"):
        runs.folder_of(stray)


@pytest.mark.parametrize("word", ["a b", "it's", "$HOME", "*", "(1)", "", "plain-1.2/x"])
def test_a_command_can_be_pasted(word: str) -> None:
    line = runs.command("main.py", "--flag", word, 0.3, Path(word))
    assert shlex.split(line)[1:] == ["main.py", "--flag", word, "0.3", str(Path(word))]
    assert (f"--flag {word} 0.3" in line) is (word == "plain-1.2/x")


def test_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    runs.start(folder, "{}")
    assert runs.how_to_go_on("main.py", folder) == f"nothing was saved yet in {folder}"
    (folder / "last.ckpt").touch()
    said = runs.how_to_go_on("main.py", folder)
    assert said.startswith("go on with: ")
    assert said.endswith(
        f" main.py --config '{folder / 'config.json'}' --resume_training_from '{folder}'"
    )


def test_after_steps_that_are_not_finite_it_goes_on_more_slowly(tmp_path: Path) -> None:
    runs.start(tmp_path, '{"lr": 0.3}')
    (tmp_path / "last.ckpt").touch()
    said = runs.how_to_go_on("main.py", tmp_path, slower=True)
    assert said.endswith(f"--resume_training_from {tmp_path} --override --lr 0.15")
    said = runs.how_to_go_on(None, tmp_path, slower=True)
    assert said.endswith(f"resume_training_from={str(tmp_path)!r}, override=True, lr=0.15)")
    runs.record(tmp_path, {"lr": None})
    assert json.loads((tmp_path / "config.json").read_text()) == {"lr": None}
    assert "--lr" not in runs.how_to_go_on("main.py", tmp_path, slower=True)
    runs.leave(tmp_path)


def test_a_rate_that_follows_the_loss_is_halved_in_a_new_run(tmp_path: Path) -> None:
    """`--override` changes it not, see `check_same_settings`."""
    words = ["digits", "resnet6_w8", "--scheduler", "reduce", "--lr", "0.3"]
    runs.start(tmp_path, to_json(parse_pretrain(words)))
    (tmp_path / "last.ckpt").touch()
    said = runs.how_to_go_on("main_contrastive.py", tmp_path, slower=True)
    head, _, line = said.partition(" main_contrastive.py ")
    assert head.startswith("start a new run with half the rate: ")
    config = parse_pretrain(shlex.split(line))
    assert (config.lr, config.scheduler, config.resume_training_from) == (0.15, "reduce", None)
    said = runs.how_to_go_on(None, tmp_path, slower=True)
    assert said == "start a new run with half the rate: cl.pretrain(..., lr=0.15)"
    assert runs.how_to_go_on("main_contrastive.py", tmp_path).startswith("go on with: ")
    runs.leave(tmp_path)


ONCE = {name for name, o in options_of(Pretrain).items() if o.about.get("once")}


@pytest.mark.parametrize("name", sorted(ONCE))
def test_a_flag_of_one_call_alone_is_no_setting_of_the_run(name: str, tmp_path: Path) -> None:
    """What `--config` does not hand on is not compared with it: `--download` of the first start."""
    config = parse_pretrain(["cifar10", "resnet6_w8"])
    option = options_of(Pretrain)[name]
    given = True if option.of is bool else (1, 2) if option.many is None else "word"
    (tmp_path / "config.json").write_text(to_json(replace(config, **{name: given})))
    assert trainer.check_same_settings(config, tmp_path) == {}
    with pytest.raises(ValueError, match="holds a run of other settings"):
        trainer.check_same_settings(replace(config, optimizer="adamw"), tmp_path)


def test_an_option_that_a_run_of_before_had_not_has_its_default_there(tmp_path: Path) -> None:
    """Also of a run on objects of the user's own, whose file is not read as settings."""
    for encoder in ("resnet6_w8", nn.Flatten()):
        config = configure(Pretrain, {"encoder": encoder, "dataset": "digits"})
        found = json.loads(to_json(config, {"global_batch_size": 128}))
        assert (found.pop("min_lr"), found.pop("betas")) == (0.0, [0.9, 0.999])
        (tmp_path / "config.json").write_text(json.dumps(found))
        assert trainer.check_same_settings(config, tmp_path) == {}
        with pytest.raises(ValueError, match=r"--min_lr 0\.01, was 0\.0"):
            trainer.check_same_settings(replace(config, min_lr=0.01), tmp_path)


def test_what_a_run_has_learned_is_not_overridden(tmp_path: Path) -> None:
    words = ["digits", "resnet6_w8", "--override", "--temperature"]
    for learn, refused in (("temperature", True), ("nothing", False)):
        config = parse_pretrain([*words, "0.2", "--learn", learn])
        (tmp_path / "config.json").write_text(to_json(config))
        other = parse_pretrain([*words, "0.8", "--learn", learn])
        if refused:
            with pytest.raises(ValueError, match="--temperature cannot be changed by --override"):
                trainer.check_same_settings(other, tmp_path)
        else:
            changed = trainer.check_same_settings(other, tmp_path)
            assert changed == {"loss_options": {"temperature": 0.8}}


def test_who_started_several_processes_starts_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start(tmp_path, "{}")
    (tmp_path / "last.ckpt").touch()
    for name, value in {"SLURM_PROCID": "0", "SLURM_NNODES": "2", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    said = runs.how_to_go_on("main.py", tmp_path)
    assert said.startswith("started by SLURM as before, go on with: ")
    for name, value in (MANY | {"TORCHELASTIC_RUN_ID": "none"}).items():
        monkeypatch.setenv(name, value)
    said = runs.how_to_go_on("main.py", tmp_path)
    launched = " -m torch.distributed.run --nproc-per-node 2 main.py --config "
    assert said.startswith("go on with: ")
    assert launched in said
    runs.leave(tmp_path)


def test_where_nothing_was_saved_the_advice_is_a_new_run(tmp_path: Path) -> None:
    runs.start(tmp_path, '{"lr": 0.3}')
    assert runs.how_to_go_on("main.py", tmp_path).startswith("nothing was saved yet")
    said = runs.how_to_go_on("main.py", tmp_path, slower=True)
    assert said.startswith("start a new run with half the rate: ")
    assert said.endswith(f" main.py --config {tmp_path / 'config.json'} --lr 0.15")
    runs.leave(tmp_path)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs of a clone's environment, which is not active."""
    clone, folder = tmp_path / "clone", tmp_path / "clone/.venv/bin"
    folder.mkdir(parents=True)
    for name in ("python3", "cl-evaluate"):
        (folder / name).touch(0o755)
    (clone / "main_linear.py").touch()
    monkeypatch.setattr(sys, "executable", str(folder / "python3"))
    monkeypatch.setattr(programs, "PROGRAMS", clone)
    monkeypatch.setattr(programs, "from_clone", lambda: True)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("CL_CALLED_FROM", raising=False)
    monkeypatch.chdir(clone)
    return folder


def test_a_command_names_the_python_that_the_shell_would_not_find(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs.command("main_linear.py", "a") == ".venv/bin/python3 main_linear.py a"
    monkeypatch.chdir(tmp_path)
    file = programs.PROGRAMS / "main_linear.py"
    assert runs.command("main_linear.py", "a") == f"{environment / 'python3'} {file} a"
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
    assert runs.command("main_linear.py", "a") == f"python3 {file} a"
    monkeypatch.chdir(programs.PROGRAMS)
    assert runs.command("main_linear.py", "a") == "python3 main_linear.py a"
    monkeypatch.setenv("CL_CALLED_FROM", str(tmp_path))  # by a script, which moves here
    assert runs.command("main_linear.py", "a") == f"python3 {file} a"


def test_a_path_is_whole_where_the_program_is(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is no path stays as it is."""
    words = "main_linear.py", "a/b", Path("runs/a b"), Path("/c")
    assert runs.command(*words).endswith("a/b 'runs/a b' /c")
    monkeypatch.setenv("CL_CALLED_FROM", str(tmp_path))
    assert runs.command(*words).endswith(f"a/b '{programs.PROGRAMS}/runs/a b' /c")
    monkeypatch.delenv("CL_CALLED_FROM")
    gone = tmp_path / "gone"
    gone.mkdir()
    for folder in (tmp_path, gone):
        monkeypatch.chdir(folder)
        assert runs.command(*words).endswith(f"a/b '{folder}/runs/a b' /c")
    gone.rmdir()
    assert runs.command(*words).endswith("a/b 'runs/a b' /c")
    monkeypatch.chdir(tmp_path)
    Path("r").mkdir()
    Path("r/last.ckpt").touch()
    said = runs.how_to_go_on("main_linear.py", Path("r"))
    assert said.endswith(f" --config {tmp_path}/r/config.json --resume_training_from {tmp_path}/r")
    monkeypatch.setattr(programs, "from_clone", lambda: False)
    assert runs.command(*words).endswith(f"a/b '{tmp_path}/runs/a b' /c")


def test_where_it_is_installed_the_command_has_its_own_name(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "from_clone", lambda: False)
    assert runs.command("main_linear.py", "a") == f"{environment / 'cl-evaluate'} a"
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
    assert runs.command("main_linear.py", "a") == "cl-evaluate a"
    assert runs.command("main_contrastive.py", "a") == "cl-pretrain a"
    (tmp_path / "last.ckpt").touch()
    said = runs.how_to_go_on(None, tmp_path)
    assert said == f"go on with: cl.pretrain(..., resume_training_from={str(tmp_path)!r})"


def test_a_run_that_is_written_is_not_taken_by_another_one(tmp_path: Path) -> None:
    """From its first moment on, before there is a checkpoint."""
    runs.start(tmp_path, '{"lr": 1}')
    with hold(tmp_path), pytest.raises(ValueError, match="is being written by process"):
        runs.start(tmp_path, '{"lr": 2}')
    assert (tmp_path / "config.json").read_text() == '{"lr": 1}'
    runs.start(tmp_path, '{"lr": 2}')
    runs.leave(tmp_path)


def owned(folder: Path, **others: object) -> None:
    """A run that a process has left without a word, or still writes."""
    runs.start(folder, "{}")
    runs.leave(folder)
    owner = lock.this_process() | {"process": 1, "began": "then"} | others
    (folder / "owner.json").write_text(json.dumps(owner))


def test_a_dead_process_of_this_machine_keeps_no_run(tmp_path: Path) -> None:
    owned(tmp_path)  # process 1 lives, but was started at another time
    runs.start(tmp_path, "{}")
    runs.leave(tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    owned(tmp_path, process=ended.pid)
    runs.start(tmp_path, "{}")
    runs.leave(tmp_path)


def test_a_living_one_keeps_its_run_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    parent = os.getppid()
    owned(tmp_path, process=parent, began=lock.began(parent))
    for take_over in (False, True):
        with pytest.raises(ValueError, match=f"written by process {parent} of this machine"):
            runs.start(tmp_path, "{}", take_over)


def test_another_machines_run_is_taken_over_with_the_flag_alone(tmp_path: Path) -> None:
    owned(tmp_path, host="elsewhere")
    words = "belongs to process 1 of the machine elsewhere, .* --take_over goes on"
    for _ in range(2):
        with pytest.raises(ValueError, match=words):
            runs.start(tmp_path, '{"lr": 2}')
    assert (tmp_path / "config.json").read_text() == "{}"
    runs.start(tmp_path, '{"lr": 2}', take_over=True)
    assert json.loads((tmp_path / "owner.json").read_text()) == lock.this_process()
    runs.leave(tmp_path)
    runs.start(tmp_path, "{}")  # it is nobody's now
    runs.leave(tmp_path)


def test_a_requeued_job_goes_on_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(tmp_path, host="elsewhere", job="17")
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    with pytest.raises(ValueError, match="--take_over"):
        runs.start(tmp_path, "{}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    runs.start(tmp_path, "{}")
    runs.leave(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"host": 1, "process": "../.."}'])
def test_a_damaged_owner_file_is_no_traceback(tmp_path: Path, content: str) -> None:
    (tmp_path / "owner.json").write_text(content)
    runs.start(tmp_path, "{}", take_over=True)
    runs.leave(tmp_path)


def test_children_are_told_once_to_forget_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often runs follow each other in a process."""
    times: list[object] = []
    monkeypatch.setattr(lock.os, "register_at_fork", lambda **_: times.append(1))
    lock.forget_in_children.cache_clear()
    for _ in range(3):
        runs.start(tmp_path, "{}")
        runs.leave(tmp_path)
    assert times == [1]
    monkeypatch.undo()
    lock.forget_in_children.cache_clear()
