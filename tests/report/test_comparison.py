"""The page of a comparison has every row, the failed ones too, with intervals where there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cl.report import draw
from cl.report.__main__ import main
from cl.report.comparison import sections
from tests.report.test_page import Tags
from tests.runs.made import made_run

HOSTILE = "</script><img src=x onerror=alert(1)>"
ROWS: list[dict[str, Any]] = [
    {"row": "A", "values": {"0": 0.5, "1": 0.52}, "mean": 0.51, "low": 0.4, "high": 0.62, "n": 2},
    {"row": HOSTILE, "values": {"0": 0.6}, "mean": 0.6, "low": None, "high": None, "n": 1},
    {"row": "C", "values": {}, "mean": None, "low": None, "high": None, "reason": "failed: worse"},
]
DIFFERENCE = {"row": HOSTILE, "reference": "A", "difference": 0.09, "p": 0.5}
DIFFERENCE |= {"mcnemar": {"0": 0.123}, "mcnemar_holm": {"0": 0.37, "1": 1e-9}}
DIFFERENCE |= {"low": -0.01, "high": 0.19, "claim": "not told apart"}
TABLE = {"name": "losses", "measure": "linear/top1", "rows": ROWS, "differences": [DIFFERENCE]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "losses"
    for seed in range(2):
        made_run(folder / f"A-s{seed}", f"--seed {seed}")
    (folder / "table.json").write_text(json.dumps(TABLE))
    return folder


@pytest.mark.parametrize("word", ["losses", "folder"])
def test_a_page_of_a_comparison(word: str, folder: Path) -> None:
    out = folder.parent / "page.html"
    word = str(folder) if word == "folder" else word
    assert main([word, "--output", str(folder.parent), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "<h1>losses</h1>" in text
    for words in ("51.00 %", "40.00 to 62.00", "n = 1", "failed: worse", "+9.00", "A-s1"):
        assert words in text
    assert "img" not in [tag for tag, _ in Tags(text).tags]
    assert "not told apart" in text
    assert "0.37, &lt; 1e-06" in text
    assert "0.12" not in re.sub("<svg.*?</svg>|<script.*?</script>", "", text, flags=re.DOTALL)
    found = re.findall("<figure id=chart[01] class=wide>", text)
    assert len(found) == 2 * draw.has_vega()


def test_only_rows_are_needed() -> None:
    text, charts = sections({"rows": [{"row": "A"}]})
    assert "Differences" not in text
    assert charts == []


def test_a_row_that_has_not_ended_says_so() -> None:
    text, _ = sections({"rows": [{"row": "A", "reason": "", "state": "planned"}]})
    assert "planned" in text


def test_without_an_interval_a_row_is_a_point() -> None:
    _, charts = sections({"rows": ROWS[1:]})
    for chart in charts:
        assert len(chart.spec["data"]["values"]) == 1
        assert len(chart.spec["layer"]) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"rows": 1}', '{"rows": [1]}', "{}"])
def test_a_table_that_is_none_is_one_line(
    content: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "table.json").write_text(content)
    out = folder.parent / "page.html"
    assert main([str(folder), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "is no comparison" in line
    assert not out.exists()


def test_a_comparison_has_a_page_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), str(folder / "A-s0")]) == 2
    assert "has a page of its own" in capsys.readouterr().err


def test_a_number_of_the_grid_has_a_plot() -> None:
    """A line for each row that was multiplied; words and a single value have none."""
    grid = [
        {"row": f"{of} {t}", "of": of, "mean": t + seed, "low": t, "high": 1.0}
        | {"grid": {"temperature": t, "optimizer": "sgd", "epochs": 3}}
        for seed, of in enumerate(("DCL", HOSTILE))
        for t in (0.1, 0.5)
    ]
    other = {"row": "untrained", "of": "", "grid": {}, "mean": 0.2, "low": None, "high": None}
    _, charts = sections({"measure": "linear/top1", "rows": [*grid, other]})
    if not draw.has_vega():
        assert charts == []
        return
    (spec,) = [chart.spec for chart in charts if "temperature" in chart.title]
    assert len(charts) == 2
    lines = {(each["name"], each["x"], each["mean"]) for each in spec["data"]["values"]}
    expected = {("DCL", t, t) for t in (0.1, 0.5)}
    assert lines == expected | {(HOSTILE, t, t + 1) for t in (0.1, 0.5)}
    assert len(spec["layer"]) == 2
    assert "<svg" in draw.svg(next(c for c in charts if "temperature" in c.title), 0)


def test_a_row_with_another_number_has_an_axis_of_its_own() -> None:
    """And one with another evaluation's, which is ranked among the others, says it by its name."""
    grid = {"grid": {"temperature": 0.1}, "of": "DCL"}
    rows = [
        {"row": "DCL 0.1", "mean": 0.5, "low": 0.4, "high": 0.6, "measure": "linear/top1"} | grid,
        {"row": "DCL 0.5", "mean": 0.6, "low": None, "high": None, "measure": "linear/top1"}
        | {"grid": {"temperature": 0.5}, "of": "DCL"},
        {"row": "supervised", "mean": 0.7, "low": None, "high": None, "measure": "supervised/top1"},
        {"row": "planned", "mean": None, "low": None, "high": None, "measure": "linear/top1"},
        {"row": "several", "mean": 0.3, "low": None, "high": None, "measure": "logistic/map"}
        | {"grid": {"temperature": 0.1}, "of": "several"},
    ]
    table = {"measure": "linear/top1", "rows": rows}
    text, charts = sections(table)
    assert "scope=row>supervised, supervised/top1<" in text
    assert "scope=row>several, logistic/map<" in text
    assert "DCL 0.1, " not in text
    if not draw.has_vega():
        assert charts == []
        return
    shown = {each.title: [v["name"] for v in each.spec["data"]["values"]] for each in charts}
    assert shown == {
        "linear/top1: means and 95 % over seeds": [
            "DCL 0.1",
            "DCL 0.5",
            "supervised, supervised/top1",
        ],
        "linear/top1 by temperature": ["DCL", "DCL"],
        "logistic/map: means and 95 % over seeds": ["several"],
    }
