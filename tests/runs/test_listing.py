"""A run is read from its folder: its state, numbers and settings, whatever the folder holds."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cl.report import head
from cl.runs.__main__ import columns_of
from cl.runs.choosing import select_runs, sort_runs
from cl.runs.listing import find_runs, one_run, read_run
from cl.runs.lock import hold, is_running
from tests.runs.made import CURVE, ENDS, made_evaluation, made_run

TRAINED = {"linear_top1": 0.9, "knn_top1": 0.8}


def test_numbers_are_found_where_each_was_written(tmp_path: Path) -> None:
    untrained = {"linear_top1": 0.7, "knn_top1": 0.6}
    run = read_run(made_run(tmp_path / "a", untrained=untrained, trained=TRAINED))
    assert (run.state, run.epochs_done, run.settings["epochs"]) == ("done", 3, 3)
    expected = {"probe": 0.5, "knn": 0.8, "loss/train": 2, "untrained": 0.7, "linear": 0.9}
    assert run.numbers == expected
    assert run.values["lr"] == 0.3  # the setting, and no column of the same name


@pytest.mark.parametrize(
    ("words", "derived", "done", "shown"),
    [
        ("", {}, 3, "3"),
        ("--epochs 100", {"steps_per_epoch": 10}, 3, "100"),
        ("--epochs 100 --max_steps 30", {}, 3, "3"),  # it has ended
        ("--epochs 100 --max_steps 45", {"steps_per_epoch": 10}, 3, "5"),
        ("--epochs 4 --max_steps 45", {"steps_per_epoch": 10}, 3, "4"),
        ("--epochs 100 --max_steps 45", {}, 3, "?"),  # a run of before
        ("--epochs 100 --max_steps 45", {"steps_per_epoch": math.inf}, 3, "?"),
    ],
)
def test_the_epochs_up_to_the_one_in_which_a_run_ends(
    words: str, derived: dict[str, Any], done: int, shown: str, tmp_path: Path
) -> None:
    folder = made_run(tmp_path / "a", words)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"derived": derived}))
    run = read_run(folder)
    assert (run.epochs_done, run.epochs_shown) == (done, shown)
    assert f"{done}/{shown}" in columns_of(run)
    assert f"{done} of {shown}" in head([run], "a")


def test_an_evaluations_numbers(tmp_path: Path) -> None:
    run = read_run(made_evaluation(tmp_path / "a"))
    assert run.state == "done"
    assert (run.numbers["linear"], run.numbers["knn/top5"]) == (0.9, 1.0)


def test_the_loss_is_the_one_that_is_computed(tmp_path: Path) -> None:
    losses = {"--method simsiam": "cosine", "--loss dcl": "dcl", "--method moco": "moco"}
    for words, loss in losses.items():
        run = read_run(made_run(tmp_path / loss, words))
        assert run.settings["loss"] == loss


@pytest.mark.parametrize(
    ("words", "rows", "result"),
    [
        ("", [CURVE[0] | ENDS], {}),  # one epoch of three
        ("", [*CURVE, {**CURVE[2], "val/probe_top1": ""}], {}),  # inside of the last epoch
        ("", [], {}),
        ("", None, {"untrained": TRAINED}),  # killed in the measurement behind the last epoch
        ("--max_steps 31", None, {}),
    ],
)
def test_a_run_that_did_not_come_to_its_end(
    words: str, rows: list | None, result: dict, tmp_path: Path
) -> None:
    if words:
        rows = [row | ENDS for row in CURVE[:2]]
    assert read_run(made_run(tmp_path / "a", words, rows, **result)).state == "unfinished"


def test_a_run_that_its_steps_end(tmp_path: Path) -> None:
    assert read_run(made_run(tmp_path / "a", "--max_steps 10", CURVE[:1])).state == "done"


@pytest.mark.parametrize(("eval", "done"), [("linear knn", 1), ("all", 2), ("linear knn", 0)])
def test_an_evaluation_without_all_of_its_cards(eval: str, done: int, tmp_path: Path) -> None:
    made = made_evaluation(tmp_path / "a", f"--eval {eval}", done)
    assert read_run(made).state == "unfinished"


def test_a_run_is_running_as_long_as_its_process_holds_it(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    with hold(folder):
        assert is_running(folder)
        assert read_run(folder).state == "running"
        with (
            pytest.raises(ValueError, match=f"is being written by process {os.getpid()} of"),
            hold(folder),
        ):
            pass
    assert not is_running(folder)


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    code = (
        "import sys, time, pathlib; from cl.runs.lock import hold\n"
        f"with hold(pathlib.Path({str(folder)!r})): print('held', flush=True); time.sleep(60)"
    )
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_running(folder)
        process.kill()
    assert not is_running(folder)


def test_a_folder_that_cannot_be_written_is_held_by_nobody(tmp_path: Path) -> None:
    with hold(tmp_path / "absent"):
        assert not is_running(tmp_path / "absent")


def test_a_cut_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    file = folder / "metrics.csv"
    file.write_bytes(file.read_bytes() + b"40,3,1.2")
    run = read_run(folder)
    with pytest.warns(UserWarning, match=r"metrics.csv is cut in its last line"):
        assert run.newest["step"] == 30


def test_the_newest_numbers_of_a_long_file(tmp_path: Path) -> None:
    """Those of an epoch's end lie before many rows of the next one."""
    inside = [{"step": 31 + i, "epoch": 3, "train/loss": 1.5} for i in range(2000)]
    run = read_run(made_run(tmp_path / "a", "", [*(r | ENDS for r in CURVE), *inside]))
    assert run.newest["step"] == 2030
    assert (run.newest["train/loss"], run.newest["val/probe_top1"]) == (1.5, 0.5)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"epochs": "x"}', "\0", "[" * 100000])
def test_what_is_no_run_is_passed_over(text: str, tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text(text)
    assert [run.name for run in find_runs(tmp_path)] == ["a"]
    with pytest.raises(ValueError, match="is no run"):
        one_run("b", tmp_path)


@pytest.mark.parametrize("name", ["metrics.csv", "result.json", "cards.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\0\xfe", b"[1]\n", b'{"trained": 1, "derived": 2}'])
@pytest.mark.filterwarnings("ignore:.*is cut in its last line")
def test_a_damaged_file_hides_no_run(name: str, content: bytes, tmp_path: Path) -> None:
    for folder in (made_run(tmp_path / "a"), made_evaluation(tmp_path / "b")):
        (folder / name).write_bytes(content)
    found = find_runs(tmp_path)
    assert {run.name for run in found} == {"a", "b"}
    for run in found:
        json.dumps(run.to_json())


def test_a_configuration_of_any_content_hides_no_run(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    odd = {"program": 1, "epochs": "x", "method": [], "loss": {}, "eval": None, "max_steps": {}}
    (folder / "config.json").write_text(json.dumps(odd))
    (run,) = find_runs(tmp_path)
    assert run.state in ("done", "unfinished")
    (folder / "config.json").write_text(json.dumps({**odd, "program": "main_linear"}))
    assert find_runs(tmp_path)[0].state == "unfinished"


def test_runs_of_a_comparison_are_found_and_the_newest_is_first(tmp_path: Path) -> None:
    for place, (name, words) in enumerate(
        {"old": "", "comparison/row-s0": "--seed 5", "new": ""}.items()
    ):
        folder = made_run(tmp_path / name, words)
        os.utime(folder / "config.json", (place, place))
    assert [run.name for run in find_runs(tmp_path)] == ["new", "comparison/row-s0", "old"]
    assert one_run("comparison/row-s0", tmp_path).settings["seed"] == 5
    assert one_run(str(tmp_path / "old"), Path("/nowhere")).name == "old"
    with pytest.raises(ValueError, match=r"odl is no run in .*; did you mean old\?"):
        one_run("odl", tmp_path)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["loss=dcl"], "b"),
        (["loss=DCL", "epochs<=3"], "b"),
        (["epochs>3"], "c"),
        (["probe=50%"], "a b"),
        (["linear>=0.9"], "a c"),
        (["linear<90%"], ""),
        (["loss!=dcl"], "a"),  # an evaluation has no loss
        (["eval=knn"], "c"),
        (["eval!=knn"], ""),
        (["program=main_linear"], "c"),
        (["state=done"], "a b c"),
        (["max_steps=none", "program=main_contrastive"], "a b"),
        (["lr_scaling=true"], "a b"),
        (["encoder<s"], "a b c"),
        (["temperature>0.25"], "b"),
        (["temperature=0.2"], "a"),
    ],
)
def test_conditions(conditions: list[str], names: str, tmp_path: Path) -> None:
    made_run(tmp_path / "a", trained=TRAINED)
    made_run(tmp_path / "b", "--loss dcl --temperature 0.3")
    made_evaluation(tmp_path / "c")
    found = select_runs(find_runs(tmp_path), conditions)
    assert sorted(run.name for run in found) == names.split()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("loss", "--where loss must be NAME=VALUE"),
        ("losss=dcl", r"--where losss: no run has it; did you mean loss\?"),
        ("=3", "must be NAME=VALUE"),
    ],
)
def test_a_wrong_condition(word: str, message: str, tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    with pytest.raises(ValueError, match=message):
        select_runs(find_runs(tmp_path), [word])


def test_sorted_from_the_largest_on_and_what_is_missing_last(tmp_path: Path) -> None:
    for name, value in {"low": 0.1, "high": 0.9, "nan": float("nan"), "mid": 0.5}.items():
        made_run(tmp_path / name, trained={"linear_top1": value})
    made_run(tmp_path / "none")
    order = [run.name for run in sort_runs(find_runs(tmp_path), "linear")]
    assert order[:3] == ["high", "mid", "low"]
    assert {*order[3:]} == {"nan", "none"}
    with pytest.raises(ValueError, match="--sort liner: no run has it; did you mean linear"):
        sort_runs(find_runs(tmp_path), "liner")
