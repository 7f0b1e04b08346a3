"""`--seeds`: a command line that is run once with each seed, as a comparison of one row."""

import shlex
import signal
from pathlib import Path

import pytest
from PIL import Image

from cl.commands import pretrain_command
from cl.compare import __main__ as compare
from cl.compare import runner, seeds, work
from cl.compare.runner import Runner
from cl.compare.seeds import plan_of_seeds
from cl.config import ConfigError, parse_pretrain
from cl.config.programs import INSTALLED
from tests.compare.test_plan import PLAN
from tests.compare.test_run import PROGRAM
from tests.runs.made import made_run

LINE = ["digits", "resnet6_w4", "--epochs", "1", "--loss", "nt_xent"]


def test_what_the_seeds_share() -> None:
    argv = ["--no-baseline", *LINE, "--lars", "--run_id", "three", "--seeds", "0", "2", "--debug"]
    argv += ["--schedule", "temperature=linear:0.5", "--wandb=off", "--crop_scale", "0.2", "1"]
    argv += ["--wandb_notes=-x", "--wandb_tags=-a", "--warmup_start_lr", "1e-3"]
    config = parse_pretrain(argv)
    plan = plan_of_seeds(config, argv)
    (row,) = plan.rows
    assert (plan.name, plan.seeds, plan.measure) == ("three", (0, 2), "linear")
    assert (row.name, row.run, row.measure) == ("nt_xent", (), "linear")
    assert row.evaluate == ("--eval", "linear", "--wandb", "off")
    again = parse_pretrain(plan.run)
    names = "lars optimizer baseline schedule crop_scale dataset epochs wandb_notes wandb_tags"
    for name in (*names.split(), "warmup_start_lr"):
        assert getattr(again, name, None) == getattr(config, name, None), name
    assert (again.seeds, again.run_id, again.debug) == ((), None, False)


def test_more_seeds_are_the_same_folder_and_other_settings_another_one() -> None:
    plans = [
        plan_of_seeds(parse_pretrain(argv), argv)
        for argv in ([*LINE, "--seeds", "0", "1"], [*LINE, "--seeds", "1", "0", "2"])
    ]
    assert plans[0].name == plans[1].name != ""
    argv = [*LINE, "--lr", "0.1", "--seeds", "0", "1"]
    assert plan_of_seeds(parse_pretrain(argv), argv).name != plans[0].name


def test_a_run_that_is_named_by_its_id_is_handed_on_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    argv = [*LINE, "--init_from", "first", "--output", str(tmp_path), "--seeds", "0"]
    words = plan_of_seeds(parse_pretrain(argv), argv).run
    assert words[words.index("--init_from") + 1] == str(tmp_path / "first")


def test_texts_are_searched() -> None:
    argv = ["wordnet", "bag_w8", "--method", "simclr", "--loss", "dhel", "--seeds", "0", "1"]
    plan = plan_of_seeds(parse_pretrain(argv), argv)
    assert plan.measure == plan.rows[0].measure == "retrieval"
    assert plan.rows[0].evaluate == ("--eval", "retrieval")


def test_all_seeds_and_their_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The programs only write; a third seed is added by the same command, and alone is run."""
    for name in INSTALLED:
        (tmp_path / name).write_text(PROGRAM)
    monkeypatch.setattr(runner, "program", lambda name: str(tmp_path / name))
    monkeypatch.setattr(seeds, "default", lambda: "knn")
    line = [*LINE, "--output", str(tmp_path / "runs"), "--seeds", "0", "1"]
    assert pretrain_command(line) == 0
    said = capsys.readouterr().out
    assert "knn/top1 in %  95 % over seeds  n\n" in said
    assert "nt_xent  50.5           44.1 to 56.9     2\n" in said
    assert pretrain_command([*line, "2"]) == 0
    said = capsys.readouterr().out
    assert "[1/1] nt_xent, seed 2" in said
    assert "nt_xent  51.0           48.5 to 53.5     3\n" in said
    (folder,) = (tmp_path / "runs").iterdir()
    assert "| nt\\_xent | 3 | 51.0 (48.5 to 53.5) |" in (folder / "table.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1", "1"], "--seeds must name each seed once, not 1 1."),
        (["--seeds", "1", "--dry_run", "x.png"], "--dry_run cannot be used with --seeds."),
        (["--seeds", "-1"], "--seeds must be from 0 to 4294967295, not -1."),
    ],
)
def test_what_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_pretrain([*LINE, *words])
    assert told.value.args == (message,)


def test_torchrun_starts_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="--seeds starts its runs itself: --devices says"):
        parse_pretrain([*LINE, "--seeds", "0", "1"])


def test_without_labels_there_is_nothing_to_summarize(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(4):
        Image.effect_noise((32, 32), 90).save(tmp_path / f"{i}.png")
    assert pretrain_command([f"unlabeled:{tmp_path}", *LINE[1:], "--seeds", "0", "1"]) == 2
    assert "has no labels: run each seed by --seed\n" in capsys.readouterr().err


@pytest.mark.parametrize("by_plan", [True, False])
def test_a_runs_folder_is_no_comparisons(
    by_plan: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its report would be overwritten, and no list would show the new runs."""
    run = made_run(tmp_path / "tiny")
    before = {file.name for file in run.iterdir()}
    (tmp_path / "plan.toml").write_text(PLAN)
    line = [*LINE, "--run_id", "tiny", "--output", str(tmp_path), "--seeds", "0", "1"]
    if by_plan:
        assert compare.main([str(tmp_path / "plan.toml"), "--output", str(tmp_path)]) == 2
    else:
        assert pretrain_command(line) == 2
    said = f"tiny: {run} is a run, no comparison; choose another name.\n"
    assert capsys.readouterr().err.endswith(f"{'name' if by_plan else '--run_id'} {said}")
    assert {file.name for file in run.iterdir()} == before


@pytest.mark.parametrize("by_plan", [True, False])
def test_the_printed_command_goes_on(
    by_plan: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has its program, all flags and one word for a path with a space."""
    monkeypatch.setattr(Runner, "run", lambda _: signal.SIGINT)
    monkeypatch.setattr(work, "plan_work", lambda *_: [])
    (tmp_path / "my plan.toml").write_text(PLAN)
    words = [str(tmp_path / "my plan.toml"), "--jobs", "2", "--output", str(tmp_path)]
    line = [*LINE, "--output", str(tmp_path), "--seeds", "0", "1"]
    call, given, program = (
        (compare.main, words, ["-m", "cl.compare"])
        if by_plan
        else (pretrain_command, line, ["main_contrastive.py"])
    )
    assert call(given) == 130
    (said,) = (s for s in capsys.readouterr().out.splitlines() if s.startswith("go on with: "))
    printed = shlex.split(said.removeprefix("go on with: "))[1:]
    assert printed[-len(given) :] == given
    assert [Path(word).name for word in printed[: -len(given)]] == program
