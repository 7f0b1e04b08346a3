"""`--seeds`: a command line that is run once with each seed, as a comparison of one row."""

import json
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from cl.commands import pretrain_command
from cl.compare import __main__ as compare
from cl.compare import runner, work
from cl.compare.plan import Comparison
from cl.compare.runner import Runner
from cl.compare.seeds import plan_of_seeds
from cl.config import ConfigError, parse_pretrain
from cl.config.programs import INSTALLED
from tests.compare.test_plan import PLAN
from tests.compare.test_run import PROGRAM
from tests.data.test_columns import save
from tests.runs.made import made_run

LINE = ["digits", "resnet6_w4", "--epochs", "1", "--loss", "nt_xent"]


def test_what_the_seeds_share() -> None:
    argv = ["--no-baseline", *LINE, "--lars", "--run_id", "three", "--seeds", "0", "2", "--debug"]
    argv += ["--schedule", "temperature=linear:0.5", "--wandb=off", "--crop_scale", "0.2", "1"]
    argv += ["--wandb_notes=-x", "--wandb_tags=-a", "--warmup_start_lr", "1e-3"]
    config = parse_pretrain(argv)
    plan = plan_of_seeds(config, argv, "linear")
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
        plan_of_seeds(parse_pretrain(argv), argv, "linear")
        for argv in ([*LINE, "--seeds", "0", "1"], [*LINE, "--seeds", "1", "0", "2"])
    ]
    assert plans[0].name == plans[1].name != ""
    argv = [*LINE, "--lr", "0.1", "--seeds", "0", "1"]
    assert plan_of_seeds(parse_pretrain(argv), argv, "linear").name != plans[0].name


def test_a_run_that_is_named_by_its_id_is_handed_on_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    argv = [*LINE, "--init_from", "first", "--output", str(tmp_path), "--seeds", "0"]
    words = plan_of_seeds(parse_pretrain(argv), argv, "linear").run
    assert words[words.index("--init_from") + 1] == str(tmp_path / "first")


@pytest.mark.parametrize(
    ("data", "method", "evaluation"),
    [
        ("huggingface:scored/set", "cosent", "sts"),
        ("huggingface:pairs/set", "simclr", "retrieval"),
        ("pairs:p.jsonl", "simclr", "retrieval"),
        ("texts:t.txt", "simclr", None),
    ],
)
def test_what_is_evaluated_is_what_the_data_can_have(
    data: str,
    method: str,
    evaluation: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scores are correlated with, pairs are searched; among texts alone nothing is to be found."""
    texts = [f"{a} {b}" for a in "abcd" for b in "efgh"]
    scored = {"sentence1": texts, "sentence2": texts[::-1], "score": [float(i) for i in range(16)]}
    save(tmp_path / "scored", train=scored, validation=scored)
    save(tmp_path / "pairs", train={"query": texts, "positive": texts[::-1]})
    (tmp_path / "t.txt").write_text("\n".join(texts))
    both = zip(texts, texts[::-1], strict=True)
    rows = [json.dumps({"query": a, "positive": b}) for a, b in both]
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    found = list[Comparison]()

    def planned(plan: Comparison, folder: Path, _: object, __: str, sources: work.Sources) -> int:
        found.append(plan)
        assert {cell.evaluation.eval for cell in work.cells_of(plan, folder, sources.load)} == {
            (evaluation,)
        }
        return 0

    monkeypatch.setattr(work, "run_plan", planned)
    line = [data, "bag_w8", "--data_folder", str(tmp_path), "--method", method]
    line += ["--batch_size", "4", "--epochs", "1", "--output", str(tmp_path), "--seeds", "0", "1"]
    assert pretrain_command(line) == (0 if evaluation else 2)
    if evaluation:
        assert [plan.measure for plan in found] == [evaluation]
    else:
        (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        assert said.endswith("has neither scores nor a document to find: run each seed by --seed")


def test_all_seeds_and_their_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The programs only write; a third seed is added by the same command, and alone is run."""
    for name in INSTALLED:
        (tmp_path / name).write_text(PROGRAM)
    monkeypatch.setattr(runner, "program", lambda name: str(tmp_path / name))
    monkeypatch.setattr(work.build, "evaluations_of", lambda _: ("knn",))
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


@pytest.mark.parametrize("by_plan", [True, False])
def test_the_printed_command_runs_from_any_folder(
    by_plan: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the words were from another one, which a plan's own words are too."""
    monkeypatch.delenv("CL_CALLED_FROM", raising=False)  # which make sets
    monkeypatch.setattr(Runner, "run", lambda _: signal.SIGINT)
    monkeypatch.setattr(work, "plan_work", lambda *_: [])
    (tmp_path / "my place").mkdir()
    monkeypatch.chdir(tmp_path / "my place")
    Path("plan.toml").write_text(PLAN)
    if by_plan:
        assert compare.main(["plan.toml", "--output", "runs"]) == 130
    else:
        assert pretrain_command([*LINE, "--output", "runs", "--seeds", "0", "1"]) == 130
    (said,) = (s for s in capsys.readouterr().out.splitlines() if s.startswith("go on with: "))
    Path("plan.toml").write_text("name = 3")  # so that it ends at once
    Path("runs").rename("old")
    Path("runs").write_text("no folder")
    line = said.removeprefix("go on with: ")
    done = subprocess.run(line, shell=True, cwd="/", capture_output=True, text=True)
    assert done.returncode == 2
    assert ("plan.toml: name must be words in quotes" in done.stderr) == by_plan
    assert ("--output: runs: Not a directory" in done.stderr) != by_plan
