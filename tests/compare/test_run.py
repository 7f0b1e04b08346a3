"""Cells that run, fail, are killed and go on; the programs only write what those of a run write."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cl import checkpoints
from cl.callbacks.saver import NOT_SAVED, OUT_OF_TIME
from cl.compare import estimate, runner, table
from cl.compare.__main__ import main
from cl.compare.cells import LOCK, PRETRAIN_LOG, Cell, cells_of
from cl.compare.locks import acquire, is_locked, locked
from cl.compare.plan import Comparison, read_plan
from cl.compare.runner import Runner
from cl.compare.warm import Program
from cl.compare.work import not_of_plan
from cl.config.programs import INSTALLED
from cl.data import sets
from tests.compare.test_plan import PLAN

# A file beside it, named like the loss, says what goes wrong: fails, waits, collapse or a code.
PROGRAM = """
import json, sys, time
from pathlib import Path

name, words = Path(sys.argv[0]).name, sys.argv[1:]
given = dict(zip(words, words[1:]))
folder = Path(given["--output"]) / given["--run_id"]
folder.mkdir(parents=True, exist_ok=True)
seed = int(given["--seed"])
if name == "main_contrastive.py":
    mode = Path(__file__).with_name(given["--loss"])
    mode = mode.read_text() if mode.exists() else ""
    print("training", *words)
    if mode == "fails":
        sys.exit("error: the data are not there")
    (folder / "last.ckpt").touch()
    if mode.isdecimal():
        print("--max_time: after 1 minutes step 38 is saved")
        print("go on with: main_contrastive.py")
        sys.exit(int(mode))
    if mode == "waits":
        time.sleep(60)
    if mode == "collapse":
        print("UserWarning: COLLAPSED at step 3: embedding std 0")
    (folder / "loss").write_text(given["--loss"])
    start = {"encoder_at_start": f"{seed} {mode}", "first_batches": f"{seed}"}
    (folder / "config.json").write_text(json.dumps({"derived": start}))
    rows = [(10, 0.5), (20, 0.78), (30, 0.8)]
    lines = ["step,val/probe_top1,images_per_s", *(f"{s},{v},1000" for s, v in rows)]
    (folder / "metrics.csv").write_text("\\n".join(lines) + "\\n")
else:
    if Path(__file__).with_name("evaluation").exists():
        sys.exit("error: it cannot be evaluated")
    loss = (folder.parent / "loss").read_text()
    top1 = {"nt_xent": 0.5, "dhel": 0.7}[loss] + seed / 100
    right = int(100 * top1)
    lines = [f"{i % 7},{i % 7 if i < right else 9}" for i in range(100)]
    (folder / "predictions-knn.csv").write_text("\\n".join(lines))
    numbers = {"top1": top1, "top1_95": [top1 - 0.02, top1 + 0.02]}
    cards = [{"evaluation": "knn", "numbers": numbers}]
    (folder / "cards.json").write_text(json.dumps({"derived": {"cards": cards}}))
"""
ROOT = Path(__file__).parents[2]
Cells = Callable[[], list[Cell]]


@pytest.fixture
def plan(tmp_path: Path) -> Comparison:
    (tmp_path / "plan.toml").write_text(PLAN)
    return read_plan(tmp_path / "plan.toml")


@pytest.fixture
def cells(plan: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    """The plan's four cells as they stand, with the programs that only write."""
    for name in INSTALLED:
        (tmp_path / name).write_text(PROGRAM)
    monkeypatch.setattr(runner, "program", lambda name: str(tmp_path / name))
    digits = sets.load("digits", "data", None, None, False)
    return lambda: cells_of(plan, tmp_path / "tiny", lambda _: digits)


def run(cells: list[Cell], jobs: int = 2) -> list[str]:
    """Run cells; the lines that are said."""
    said = list[str]()
    Runner(cells, jobs, [], said.append).run()
    return said


def test_a_table_of_what_was_run(plan: Comparison, cells: Cells) -> None:
    assert [cell.state for cell in cells()] == ["planned"] * 4
    assert "| DHEL | 0 of 2 | planned |" in table.markdown(table.collect(plan, cells()))
    said = run(cells())
    assert sum("done after" in line for line in said) == 4
    assert {cell.state for cell in cells()} == {"done"}
    found = table.collect(plan, cells())
    first, second = found["rows"]
    assert first["values"] == {"0": 0.5, "1": 0.51}
    assert (second["mean"], second["n"]) == (pytest.approx(0.705), 2)
    (difference,) = found["differences"]
    assert (difference["row"], difference["difference"]) == ("DHEL", pytest.approx(0.2))
    assert difference["significant"]
    alone = 2 * 0.5**20  # 20 images that only one of them has right
    for name, p in (("mcnemar", alone), ("mcnemar_holm", 2 * alone)):
        assert difference[name] == {"0": pytest.approx(p), "1": pytest.approx(p)}
    assert first["numbers"]["steps_to_95"] == 20
    assert first["numbers"]["ms_a_step"] == 128
    assert first["test_images_half"] == pytest.approx(0.02)
    assert found["notes"] == []
    text = table.write(found, cells()[0].folder.parent)
    assert "| NT-Xent | 2 | 50.5 (44.1 to 56.9) | 2.0% | 80.0% |" in text
    assert "ms a step (shared)" in text
    assert "- DHEL - NT-Xent = +20.0 (" in text
    assert "on test images alone, by seed: McNemar's p (Holm) 3.8e-06, 3.8e-06" in text
    assert (cells()[0].folder.parent / "table.csv").read_text().count("\n") == 5


@pytest.mark.parametrize(("number", "compared"), [("top1", True), ("purity", False)])
def test_a_row_of_another_measure_names_it(
    number: str, compared: bool, plan: Comparison, cells: Cells
) -> None:
    """The same number of another evaluation is compared, as that of `supervised`."""
    run(cells())
    other, first = f"own/{number}", plan.rows[0]
    rows = [first, *(replace(row, measure=other) for row in plan.rows[1:])]
    found = [replace(c, row=rows[c.row.name != first.name]) for c in cells()]
    for cell in (cell for cell in found if cell.row is rows[1]):
        file = cell.results / "cards.json"
        written = json.loads(file.read_text())
        card = {"evaluation": "own", "numbers": {number: 0.5 + cell.seed / 100}}
        written["derived"]["cards"].append(card)
        file.write_text(json.dumps(written))
    made = table.collect(replace(plan, rows=tuple(rows)), found)
    assert len(made["differences"]) == compared
    assert made["notes"] == [f"DHEL has another number, {other}, and is compared with no row"] * (
        not compared
    )
    assert f"), {other} |" in table.markdown(made)
    assert "), knn/top1 |" not in table.markdown(made)
    assert [line.split("  ")[0] for line in table.brief(made)][1:3] == ["NT-Xent", f"DHEL, {other}"]


def test_a_seed_that_has_not_reached_the_goal_counts_as_infinite(
    plan: Comparison, cells: Cells, tmp_path: Path
) -> None:
    three = replace(plan, seeds=(0, 1, 2))
    digits = sets.load("digits", "data", None, None, False)
    found = cells_of(three, tmp_path / "tiny", lambda _: digits)
    run(found)
    for row, seed in (("NT-Xent", 0), ("DHEL", 0), ("DHEL", 1)):
        (cell,) = (c for c in found if (c.row.name, c.seed) == (row, seed))
        file = cell.folder / "metrics.csv"
        file.write_text(file.read_text().replace("0.78", "0.5").replace("0.8,", "0.6,"))
    made = table.collect(three, found)
    assert [row["numbers"]["steps_to_95"] for row in made["rows"]] == [20, None]
    assert [row["reached_95"] for row in made["rows"]] == [[2, 3], [1, 3]]
    text = table.write(made, tmp_path / "tiny")
    assert "| 20 (2 of 3) |" in text
    assert "| not reached (1 of 3) |" in text
    written = json.loads((tmp_path / "tiny" / "table.json").read_text(), parse_constant=pytest.fail)
    assert [c["numbers"]["steps_to_95"] for c in written["cells"]].count(None) == 3
    with (tmp_path / "tiny" / "table.csv").open() as file:
        steps = [line["steps_to_95"] for line in csv.DictReader(file)]
    assert steps.count("inf") == 3


def test_what_is_done_is_not_run_again(cells: Cells) -> None:
    run(cells())
    before = {cell.folder: cell.folder.stat().st_mtime_ns for cell in cells()}
    assert [c for c in cells() if c.state != "done"] == []
    for cell in cells():
        assert [*runner.commands(cell)][:-1] == []  # but for the evaluation, if it were asked for
    assert before.keys() == {cell.folder for cell in cells()}


def test_a_failed_cell_stands_in_the_table(plan: Comparison, cells: Cells, tmp_path: Path) -> None:
    (tmp_path / "dhel").write_text("fails")
    said = run(cells())
    assert any("failed after" in line and "the data are not there" in line for line in said)
    found = table.collect(plan, cells())
    assert [cell["state"] for cell in found["cells"]] == ["done", "failed", "done", "failed"]
    assert found["notes"][0] == "DHEL, seed 0: failed: the data are not there"
    assert found["differences"] == []
    assert "| DHEL | 0 of 2 | failed |" in table.markdown(found)
    (tmp_path / "dhel").unlink()  # repaired: it is run again where that is asked for
    run([cell for cell in cells() if cell.state == "failed"])
    assert {cell.state for cell in cells()} == {"done"}


def test_why_a_row_has_no_number_stands_in_one_column(plan: Comparison, cells: Cells) -> None:
    """Also where its cells are in several states; it fits into a terminal of 80 columns."""
    run(cells())
    found = table.collect(plan, cells())
    of_dhel = {"mean": None, "low": None, "n": 0, "missing": 2, "state": "failed and interrupted"}
    rows = [row | (of_dhel if row["row"] == "DHEL" else {}) for row in found["rows"]]
    head, *lines = table.brief(found | {"rows": rows, "differences": [], "notes": []})
    (line,) = (line for line in lines if line.startswith("DHEL"))
    at, behind = head.index("knn/top1 in %"), head.index("95 % over seeds")
    assert line[at:behind].strip() == "failed and interrupted"
    assert line[behind:].split() == ["0", "of", "2"]
    assert all(len(each) <= 80 for each in (head, *lines))


def test_a_failed_evaluation_holds_no_other_one_back(
    cells: Cells, tmp_path: Path, plan: Comparison
) -> None:
    """Another evaluation of the same runs is tried, and nothing is trained again."""
    (tmp_path / "evaluation").touch()
    run(cells())
    assert {cell.state for cell in cells()} == {"failed"}
    (tmp_path / "evaluation").unlink()
    other = replace(
        plan, rows=tuple(replace(r, evaluate=("--eval", "knn", "--k", "5")) for r in plan.rows)
    )
    digits = sets.load("digits", "data", None, None, False)
    changed = cells_of(other, tmp_path / "tiny", lambda _: digits)
    assert {cell.state for cell in changed} == {"interrupted"}
    before = [(cell.folder / PRETRAIN_LOG).read_text() for cell in changed]
    run(changed)
    assert {cell.state for cell in changed} == {"done"}
    assert [(cell.folder / PRETRAIN_LOG).read_text() for cell in changed] == before


def test_a_collapse_is_a_failure(plan: Comparison, cells: Cells, tmp_path: Path) -> None:
    (tmp_path / "dhel").write_text("collapse")
    run(cells())
    found = table.collect(plan, cells())
    assert found["rows"][1]["values"] == {}
    assert found["notes"][0] == "DHEL, seed 0: failed: COLLAPSED at step 3: embedding std 0"


def test_another_start_is_said(plan: Comparison, cells: Cells, tmp_path: Path) -> None:
    """The sums of the encoder and of the order stand in each run's config.json."""
    (tmp_path / "dhel").write_text("another")
    run(cells())
    notes = table.collect(plan, cells())["notes"]
    assert notes[0] == "DHEL, seed 0 starts from another encoder at start"
    assert len(notes) == 2


def test_a_signal_ends_the_children_and_the_next_call_goes_on(cells: Cells, tmp_path: Path) -> None:
    (tmp_path / "nt_xent").write_text("waits")
    work = Runner(cells()[:1], 1, [], print)
    checkpoint = cells()[0].folder / checkpoints.LAST

    def interrupt() -> None:
        while not checkpoint.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert work.run() == signal.SIGINT
    (first, *_) = cells()
    assert first.state == "interrupted"
    (tmp_path / "nt_xent").unlink()
    run(cells())
    assert {cell.state for cell in cells()} == {"done"}
    assert f"--resume_training_from {first.folder}" in (first.folder / PRETRAIN_LOG).read_text()


@pytest.mark.parametrize("code", [NOT_SAVED, OUT_OF_TIME])
def test_a_run_that_ended_early_goes_on(
    code: int, plan: Comparison, cells: Cells, tmp_path: Path
) -> None:
    """At the end of its `--max_time`, or where its last state was not saved."""
    (tmp_path / "dhel").write_text(str(code))
    said = run(cells())
    ended = "--max_time: after 1 minutes step 38 is saved"
    assert any(line.startswith("DHEL, seed 0: interrupted") and ended in line for line in said)
    assert [cell.state for cell in cells()] == ["done", "interrupted"] * 2
    found = table.collect(plan, cells())
    assert found["notes"][0] == f"DHEL, seed 0: interrupted: {ended}"
    assert "| DHEL | 0 of 2 | interrupted |" in table.markdown(found)
    (tmp_path / "dhel").unlink()
    run(cells())
    assert {cell.state for cell in cells()} == {"done"}
    log = (cells()[1].folder / PRETRAIN_LOG).read_text()
    assert f"--resume_training_from {cells()[1].folder}" in log


def test_a_child_of_a_caller_that_was_killed_is_waited_for(cells: Cells) -> None:
    """The lock is the child's as well."""
    (first, *_) = cells()
    lock = acquire(first.folder / LOCK)
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"], pass_fds=[lock])
    os.close(lock)
    assert first.state == "running"
    since = time.monotonic()
    run([first])
    assert time.monotonic() - since > 1
    child.wait()
    assert first.state == "done"


def test_a_program_keeps_the_lock_and_has_its_threads(tmp_path: Path) -> None:
    """The caller may be gone: the lock is held by whoever still computes."""
    file, log = tmp_path / "lock", tmp_path / "log"
    (tmp_path / "go.py").write_text(
        "import pathlib, sys, time, torch\n"
        "print(sys.argv[1], torch.get_num_threads(), flush=True)\n"
        "while not pathlib.Path(__file__).with_name('end').exists(): time.sleep(0.05)\n"
        "sys.exit(3)\n"
    )
    lock = acquire(file)
    assert lock is not None
    program = Program([str(tmp_path / "go.py"), "word"], log, lock, threads=3)
    os.close(lock)
    try:
        while not (log.exists() and log.read_text()):
            time.sleep(0.05)
        assert is_locked(file)
        assert log.read_text() == "word 3\n"
        assert program.code is None
    finally:
        (tmp_path / "end").touch()
    while program.code is None:
        time.sleep(0.05)
    assert program.code == 3
    assert program.memory > 10
    assert not is_locked(file)


def test_a_lock_keeps_two_callers_apart_and_ends_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lock"
    assert not is_locked(file)
    with locked(file):
        assert is_locked(file)
        with pytest.raises(ValueError, match="folder is being worked on"), locked(file):
            pass
    assert not is_locked(file)
    held = "from cl.compare.locks import acquire; from pathlib import Path; import os, sys; "
    held += "acquire(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", held, str(file)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert not is_locked(file)


# Steps without an end, as SIGTERM finds them; a file beside it named `broken` is an error.
ENDLESS = """
import itertools, sys, time
from pathlib import Path

given = dict(zip(sys.argv[1:], sys.argv[2:]))
if Path(__file__).with_name("broken").exists():
    sys.exit("error: the data are not there")
folder = Path(given["--output"]) / given["--run_id"]
folder.mkdir()
with (folder / "metrics.csv").open("w", buffering=1) as file:
    print("step,images_per_s", file=file)
    for step in itertools.count(1):
        print(f"{step},{1000 if step > 2 else 10}", file=file)
        time.sleep(0.02)
"""


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a pretraining that does not end by itself."""
    file = tmp_path / "endless.py"
    file.write_text(ENDLESS)
    monkeypatch.setattr(runner, "program", lambda name: str(file))
    (tmp_path / "plan.toml").write_text(PLAN)
    return file


def test_what_a_row_costs_is_measured_on_its_first_steps(endless: Path, plan: Comparison) -> None:
    """A program that is ended by the signal itself, at once, has the exit code of one."""
    endless.write_text("import signal, sys\nsignal.signal(15, lambda *_: sys.exit(143))" + ENDLESS)
    digits = sets.load("digits", "data", None, None, False)
    found = cells_of(plan, endless.parent, lambda _: digits)
    cost = estimate.measure(found, lambda _: digits, print)
    assert cost.seconds == {"NT-Xent": 0.128, "DHEL": 0.128}  # of 128 images at 1000 a second
    assert cost.steps == {"NT-Xent": 22, "DHEL": 22}


def test_only_what_is_left_to_pretrain_is_measured_and_counted(
    endless: Path, plan: Comparison
) -> None:
    """Not what another evaluation is asked of, nor the steps before a checkpoint."""
    endless.write_text("import signal, sys\nsignal.signal(15, lambda *_: sys.exit(143))" + ENDLESS)
    digits = sets.load("digits", "data", None, None, False)
    found = cells_of(plan, endless.parent, lambda _: digits)
    for cell in found:
        cell.folder.mkdir()
        if cell.row.name == "NT-Xent":
            (cell.folder / PRETRAIN_LOG).write_text("exit code 0, 826 MB, 1 at a time\n")
    (found[3].folder / checkpoints.LAST).touch()
    (found[3].folder / "metrics.csv").write_text("step,epoch,val/loss\n11,0,2\n20,1,1\n")
    cost = estimate.measure(found, lambda _: digits, print)
    assert cost.steps == {"DHEL": 22}
    expected = (2 * estimate.START + cost.seconds["DHEL"] * (22 + 2)) / 60
    assert cost.minutes(found, 1) == pytest.approx(expected)


def test_what_was_not_measured_is_said(endless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless.write_text("")
    words = [str(endless.with_name("plan.toml")), "--output", str(endless.parent), "--dry_run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "DHEL: not measured, 22 steps, 0.0 MB\n" in said
    assert "minutes of pretraining without NT-Xent, DHEL, before evaluations" in said
    assert main([*words, "--budget", "5"]) == 2
    told = "error: --budget 5: no step of NT-Xent, DHEL was measured.\n"
    assert capsys.readouterr().err == told


def test_an_error_while_measuring_names_the_row(
    endless: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless.with_name("broken").touch()
    plan = endless.with_name("plan.toml")
    assert main([str(plan), "--output", str(endless.parent)]) == 2
    assert capsys.readouterr().err == "error: row NT-Xent: the data are not there\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_measurement(
    endless: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program that is measured is ended, and nothing follows."""
    monkeypatch.setattr(estimate, "STEPS", 10**9)
    begun = estimate.begin

    def interrupted(words: Sequence[str], metrics: Path, log: Path) -> int:
        def interrupt() -> None:
            while not metrics.exists():
                time.sleep(0.05)
            os.kill(os.getpid(), number)

        threading.Thread(target=interrupt).start()
        return begun(words, metrics, log)

    monkeypatch.setattr(estimate, "begin", interrupted)
    plan = endless.with_name("plan.toml")
    assert main([str(plan), "--output", str(endless.parent)]) == 128 + number
    assert "nothing was started" in capsys.readouterr().err
    assert not [*(endless.parent / "tiny").glob("*-s*")]


def test_what_is_not_of_the_plan(tmp_path: Path) -> None:
    """Earlier cells, but not what a run keeps beside them."""
    for name in ("DHEL-s0-0123abcd", "tokens"):
        (tmp_path / name).mkdir()
    (tmp_path / "DHEL-s0-0123abcd" / LOCK).touch()
    assert not_of_plan(tmp_path, []) == ["DHEL-s0-0123abcd"]
