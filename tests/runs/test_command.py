"""`python -m cl.runs`: what it prints, what it deletes, and what it refuses in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cl.runs.__main__ import main
from cl.runs.lock import hold
from tests.runs.made import made_evaluation, made_run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COLUMNS", raising=False)
    made_run(tmp_path / "a", trained={"linear_top1": 0.9, "knn_top1": float("nan")})
    made_run(tmp_path / "b", "--loss dcl --seed 3")
    made_evaluation(tmp_path / "c")
    return tmp_path


def call(root: Path, *words: str, expect: int = 0) -> None:
    command, *rest = words
    assert main([command, "--output", str(root), *rest]) == expect


def test_list(root: Path, capsys: Capture) -> None:
    call(root, "list", "--sort", "temperature")
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["linear", "temperature"]
    assert {line.split()[0] for line in lines} == {"a", "b", "c"}
    (of_a,) = (line for line in lines if line.startswith("a "))
    assert "simclr nt_xent" in of_a
    assert of_a.endswith("90.0 %  0.2")
    call(root, "list", "--where", "loss=moco")
    assert capsys.readouterr().out == f"no such run in {root}\n"


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_a_line_of_the_list_fits_the_terminal(
    width: int, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Where it is piped it is whole."""
    name = "a-comparison-of-losses/NT-Xent_temperature_0.07-s0-16465bd8"
    made_run(root / name)
    call(root, "list")
    piped = capsys.readouterr().out
    assert name in piped
    monkeypatch.setenv("COLUMNS", str(width))
    call(root, "list")
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    assert len(said.splitlines()) == 5
    assert "6465bd8" in said
    assert (said == piped) is (width == 200)


def test_json_is_what_every_reader_takes(root: Path, capsys: Capture) -> None:
    for words in (("list",), ("show", "a"), ("diff", "a", "b")):
        call(root, *words, "--json")
        text = capsys.readouterr().out
        found = json.loads(text, parse_constant=pytest.fail)
        if words == ("list",):
            assert {run["run"] for run in found} == {"a", "b", "c"}
            (of_a,) = (run for run in found if run["run"] == "a")
            assert of_a["numbers"]["knn"] is None  # NaN
    assert found["settings"] == {
        "loss": ["nt_xent", "dcl"],
        "seed": [0, 3],
        "temperature": [0.2, 0.1],
    }


def test_show_and_diff(root: Path, capsys: Capture) -> None:
    call(root, "show", "b")
    out = capsys.readouterr().out
    assert "done, started" in out
    assert {"seed 3", "loss dcl"} <= {" ".join(line.split()) for line in out.splitlines()}
    call(root, "diff", "a", "b")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["seed", "0", "3"] in rows
    call(root, "diff", "a", "a")
    assert "all settings are equal" in capsys.readouterr().out


def test_delete_asks(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for answer, left in {"n": "abc", "": "abc", "y": "bc"}.items():
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        call(root, "delete", "a")
        assert sorted(folder.name for folder in root.iterdir()) == [*left]
    call(root, "delete", "b", "c", "b", "--yes")
    assert "done" in capsys.readouterr().out
    assert not [*root.iterdir()]


def unanswered(_: str) -> str:
    raise EOFError


def test_delete_refuses_and_then_deletes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("builtins.input", unanswered)
    made_run(root / "outer")
    made_run(root / "outer" / "inner")
    (root / "link").symlink_to(root / "b")
    (root / "notes").mkdir()
    before = sorted(root.rglob("*"))
    with hold(root / "b"):
        for words, message in {
            ("a", "b", "--yes"): "b is running",
            ("a", "outer", "--yes"): "holds the run inner too",
            ("a", "notes", "--yes"): "is no run",
            (".", "--yes"): "is no run",
            ("a", "nothing", "--yes"): "nothing is no run in",
            ("a",): "nobody answered; --yes",
        }.items():
            call(root, "delete", *words, expect=2)
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("error: ")
            assert message in line
    owner = root / "a" / "owner.json"
    owner.write_text('{"host": "elsewhere", "process": 1}')
    call(root, "delete", "a", "--yes", expect=2)
    assert "the machine elsewhere, " in capsys.readouterr().err
    assert owner.exists()
    owner.unlink()
    call(root, "delete", "link", "--yes", expect=2)
    assert "is a link to another folder" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    ["list --where loss", "list --sort nothing", "show x", "diff a", "delete", "lst", "", "show"],
)
def test_bad_input_is_one_line(words: str, root: Path, capsys: Capture) -> None:
    try:
        code = main([*words.split(), *(["--output", str(root)] if words else [])])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    call(tmp_path / "absent", "list", expect=2)
    assert "there is no such folder" in capsys.readouterr().err


def test_a_cut_file_is_said_once(root: Path, capsys: Capture) -> None:
    with (root / "a" / "metrics.csv").open("a") as file:
        file.write("40,3")
    call(root, "list")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert "is cut in its last line" in line


def test_a_name_moves_no_cursor(tmp_path: Path, capsys: Capture) -> None:
    made_run(tmp_path / "a\x1b[2Jb\nc")
    call(tmp_path, "list")
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 3
    assert lines[1].startswith(r"a\x1b[2Jb\nc  ")


def test_no_torch_is_loaded(root: Path) -> None:
    code = (
        "import sys; from cl.runs.__main__ import main\n"
        f"main(['list', '--output', {str(root)!r}])\n"
        "sys.exit('torch' in sys.modules)"
    )
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository, capture_output=True)
