"""`benchmarks/on_gpu.sh`: a rehearsal on the CPU, time limits, and the page made of the results."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.gpu import document, main

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_rehearsal_holds(tmp_path: Path) -> None:
    """As a user calls it, from another folder."""
    words = ["bash", str(SCRIPT), "--rehearse", "--out", "results"]
    start = time.monotonic()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert time.monotonic() - start < 60 * main.REHEARSAL + 20
    tables = json.loads((tmp_path / "results" / "on_gpu.json").read_text())
    assert [table["name"] for table in tables] == list(main.PARTS)
    assert all(table["rows"] for table in tables if table["name"] != "waits")
    assert done.stdout.rstrip().endswith("all checks hold")


def test_without_cuda_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(SCRIPT), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2
    assert done.stderr == "error: no CUDA device; --rehearse runs the same on the CPU\n"


def test_a_part_that_hangs_is_ended(tmp_path: Path) -> None:
    start = time.monotonic()
    table = main.run("machine", tmp_path, 0.1, ["--rehearse"])
    assert time.monotonic() - start < 20
    assert table["failed"] == ["ended at its limit of 0.1 s"]
    assert "FAILED: ended at its limit of 0.1 s" in main.lines(table)


def test_a_part_without_rows_is_no_table() -> None:
    table = {"name": "waits", "title": "waits", "columns": ["what"], "rows": [], "seconds": 1.0}
    assert main.lines(table | {"notes": ["none"], "failed": []}) == [
        "\n== waits: waits (1 s)",
        "none",
    ]


def test_the_page_is_made_of_the_results() -> None:
    """By `python -m benchmarks.gpu.document`."""
    page = document.PAGE.read_text()
    results = json.loads(document.RESULTS.read_text()) if document.RESULTS.exists() else None
    assert document.made(results) in page


def test_a_cell_of_the_page_keeps_its_bars() -> None:
    table = {"title": "a|b", "columns": ["x"], "rows": [["1|2"]], "notes": [], "failed": ["y"]}
    text = document.made([table])
    assert "| 1\\|2 |" in text
    assert "Failed: y" in text
