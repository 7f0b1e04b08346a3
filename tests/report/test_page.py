"""The page is one file, names on it are text, and a report that fails ends no run."""

import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cl import report
from cl.report import draw, page
from cl.report.__main__ import main
from cl.report.charts import Chart, Series
from cl.runs.listing import read_run
from tests.runs.made import CURVE, ENDS, made_evaluation, made_run

HOSTILE = "</script><img src=x onerror=alert(1)>$x_1$ & \"'"
VEGA = pytest.param(
    True, marks=pytest.mark.skipif(not draw.has_vega(), reason="vl-convert-python is not installed")
)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(params=[VEGA, False], ids=["vega", "matplotlib"])
def with_vega(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(draw, "has_vega", lambda: request.param)
    monkeypatch.setattr(report, "has_vega", lambda: request.param)
    return request.param


def made_page(root: Path, *words: str) -> str:
    out = root / "page.html"
    assert main([*words, "--output", str(root), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_a_page_of_one_run(tmp_path: Path, with_vega: bool) -> None:
    run = made_run(tmp_path / "a", "--seed 7", trained={"linear_top1": 0.9, "knn_top1": 0.8})
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(run / "views.png")
    found = Tags(made_page(tmp_path, "a"))
    for words in ("simclr, nt_xent, digits, resnet6_w8", "90.00 %", "3 of 3", "Training loss"):
        assert words in found.text
    drawings = [about for tag, about in found.tags if tag == "svg" and "role" in about]
    assert "Training loss" in [about["aria-label"] for about in drawings]
    (image,) = (about for tag, about in found.tags if tag == "img")
    assert str(image["src"]).startswith("data:image/png;base64,")
    assert ("stand still" in found.text) is not with_vega


def test_text_in_a_drawing_stays_as_it_is(with_vega: bool) -> None:
    """Coordinates alone are rounded: no tick label, no row's name, no name for a screen reader."""
    names = ["temperature=0.07", 'd="0.123" #clip_0.25']
    series = [Series(name, [1, 2, 3], [0.02, 0.0371, 0.1]) for name in names]
    chart = Chart("Loss at 0.07", "weight 0.125", "y", series, names)
    points = draw.points_of(chart)
    made = draw.vega_svg(draw.spec(chart, points)) if with_vega else draw.matplotlib_svg(chart)
    text = draw.embedded(made, chart.title, 0)
    before, after = (list(ElementTree.fromstring(t).iter()) for t in (made, text))
    said = [each.text for each in before]
    assert said == [each.text for each in after]
    assert {"0.02", "0.10"} <= {*said}
    for name in ("aria-label", "style", "opacity", "stroke-width"):
        assert [e.get(name) for e in before[1:]] == [e.get(name) for e in after[1:]]
    placed = " ".join(e.get(name, "") for e in after for name in ("d", "transform", "x", "y"))
    assert re.search(r"\d\.\d", placed)
    assert not re.search(r"\d\.\d\d", placed)


def test_a_page_of_several_runs_says_what_differs(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    made_run(tmp_path / "b", "--loss dcl")
    made_evaluation(tmp_path / "c")
    text = made_page(tmp_path, "a", "b", "c")
    differ = text[text.index("Settings that differ") :]
    head = re.findall(r"<th scope=col.*?>(.*?)</th>", differ[: differ.index("</thead>")])
    assert head == ["run", "loss", "temperature"]
    assert "88.00 to 92.00 %" in text


def test_nothing_is_fetched_and_only_our_scripts_run(tmp_path: Path, with_vega: bool) -> None:
    made_run(tmp_path / "a")
    text = made_page(tmp_path, "a")
    (policy,) = re.findall(r'Content-Security-Policy content="(.*?)"', text)
    assert policy.startswith("default-src 'none'; script-src '")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2 * with_vega
    sums = {f"'sha256-{page.policy_sum(script)}'" for script in scripts} or {"'none'"}
    assert {*policy.split("script-src ")[1].split("; style")[0].split()} == sums
    assert not [about for _, about in Tags(text).tags if {"src", "href"} & about.keys()]


@pytest.mark.parametrize("others", [0, 1, 9])
def test_every_name_is_text(others: int, tmp_path: Path, with_vega: bool) -> None:
    hostile = tmp_path / HOSTILE.replace("/", "\u2215")
    made_run(hostile)
    file = hostile / "config.json"
    config = json.loads(file.read_text()) | {HOSTILE: HOSTILE, "seed": HOSTILE, "loss": HOSTILE}
    file.write_text(json.dumps(config))
    file = hostile / "metrics.csv"
    file.write_text(file.read_text().replace("val/loss", '"' + HOSTILE.replace('"', '""') + '"'))
    rows = [row | ENDS for row in CURVE]
    made = [made_run(tmp_path / f"{i}", f"--seed {i}", rows) for i in range(others)]
    evaluation = made_evaluation(tmp_path / f"e{HOSTILE.replace('/', '')}")
    cards = evaluation / "cards.json"
    cards.write_text(cards.read_text().replace('"2.0"', json.dumps(HOSTILE)))
    text = made_page(tmp_path, str(hostile), *map(str, made), str(evaluation))
    found = Tags(text)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [about for _, about in found.tags if "onerror" in about]
    assert text.count("<script") == 3 * with_vega
    assert HOSTILE in found.text


@pytest.mark.parametrize(
    "words", [["nothing"], ["a", "nothing"], ["notes"], [], ["a", "--out", "/nowhere/report.html"]]
)
def test_bad_input_is_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_run(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    try:
        code = main([*words, "--output", str(tmp_path)])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_charts_are_written_for_papers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(tmp_path / "a")
    words = ["a", "--output", str(tmp_path), "--out", str(tmp_path / "page.html"), "--png"]
    if draw.has_vega():
        assert main([*words, str(tmp_path / "figures")]) == 0
        assert (tmp_path / "figures" / "training-loss.png").exists()
        for file in (tmp_path / "figures").iterdir():
            with Image.open(file) as image:
                assert image.width > 1000
                assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        capsys.readouterr()
        assert main([*words, "/proc/figures"]) == 2
        assert capsys.readouterr().err.startswith("error: --png /proc/figures cannot be written: ")
    monkeypatch.setattr(draw, "find_spec", lambda _: None)
    assert main([*words, str(tmp_path / "figures")]) == 2
    assert "pip install vl-convert-python" in capsys.readouterr().err


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [made_run(tmp_path / place / "a") for place in ("x", "y")]
    out = tmp_path / "page.html"
    assert main([*map(str, folders), "--output", str(tmp_path / "none"), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert all(page.escape(folder) in text for folder in folders)


CONFIG = SimpleNamespace(report=True, processes=1)


def test_a_report_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_run(tmp_path / "a")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.warns(UserWarning, match=r"report.html is not written: .*No space left"):
            report.after_run(CONFIG, folder)
    assert not (folder / "report.html").exists()
    with pytest.warns(UserWarning, match=r"report.html is not written: .*is no run"):
        report.after_run(CONFIG, tmp_path / "absent")


def test_a_report_is_written_unless_it_is_not_wanted(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    report.after_run(SimpleNamespace(report=False), folder)
    assert not (folder / "report.html").exists()
    report.after_run(CONFIG, folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.json",
        "curves.png",
        "metrics.csv",
        "report.html",
    ]


@pytest.mark.parametrize("vega", [VEGA, False])
def test_the_curves_are_drawn_beside_the_page_where_that_is_safe(
    vega: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads of matplotlib would share its settings. Both are what they are one by one."""
    monkeypatch.setattr(report, "has_vega", lambda: vega)
    monkeypatch.setattr(draw, "has_vega", lambda: vega)
    folder = made_run(tmp_path / "a")
    alone = [report.write_curves, report.write_report]
    alone[0](read_run(folder), folder / "curves.png")
    alone[1]([read_run(folder)], folder / "report.html")
    files = folder / "curves.png", folder / "report.html"

    def numbered(content: bytes) -> bytes:
        return re.sub(rb"(clip|gradient)\d+", rb"\1", content)  # each drawing counts on

    expected = [numbered(file.read_bytes()) for file in files]
    done, order = threading.Event(), list[str]()

    def curves(*given: Any) -> None:
        assert done.wait(60 if vega else 0) is vega
        alone[0](*given)
        order.append("curves")

    def whole(*given: Any) -> None:
        order.append("page")
        done.set()
        alone[1](*given)

    monkeypatch.setattr(report, "write_curves", curves)
    monkeypatch.setattr(report, "write_report", whole)
    report.after_run(CONFIG, folder)
    assert order == (["page", "curves"] if vega else ["curves", "page"])
    assert [numbered(file.read_bytes()) for file in files] == expected


@pytest.mark.skipif(not draw.has_vega(), reason="vl-convert-python is not installed")
def test_what_draws_can_be_started_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    draws = draw.vega_svg
    monkeypatch.setattr(draw, "vega_svg", lambda of: made.append(draws(of)))
    draw.warm_up()
    assert made[0].startswith("<svg")


@pytest.mark.skipif(not draw.has_vega(), reason="vl-convert-python is not installed")
def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda _: built.append(1) or "</script>")
    (tmp_path / "file").touch()
    for home, times in ((tmp_path / "file", 2), (tmp_path / "cache", 3), (tmp_path / "cache", 3)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        draw.javascript.cache_clear()
        if times == 2:
            draw.javascript()
            draw.javascript.cache_clear()
        assert draw.javascript() == "<\\/script>"
        assert len(built) == times
    draw.javascript.cache_clear()


def test_a_runs_curves_are_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the run's name, its data and its score; what validates texts is drawn too."""
    rows = [row | ENDS | {"monitor/effective_rank": 7.0} for row in CURVE]
    reached = {"linear_top1": 0.9, "knn_top1": 0.8}
    folder = made_run(tmp_path / "a$b", "", rows, trained=reached)
    drawn = []
    made = draw.picture_of
    monkeypatch.setattr(draw, "picture_of", lambda *given: drawn.append(made(*given)) or drawn[-1])
    report.after_run(CONFIG, folder)
    with Image.open(folder / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    assert "<h2>Pictures</h2>" not in (folder / "report.html").read_text()
    (figure,) = drawn
    first, second = figure.get_suptitle().replace("\u200b", "").splitlines()
    assert first == r"a\$b: simclr, nt_xent, digits, resnet6_w8"
    assert second == "online probe 50.00 %, logistic regression 90.00 %, kNN 80.00 %"
    loss, top1, rank = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[10, 4], [20, 3], [30, 2]]
    assert [line.get_ydata()[-1] for line in top1.lines] == [0.5, 0.6]
    assert [each.get_ylabel() for each in figure.axes] == ["loss", "top-1 accuracy", "dimensions"]
    assert rank.get_ylim()[0] == 0 < 7 < rank.get_ylim()[1]
    assert {each.get_xlabel() for each in figure.axes} == {"step"}


@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_places_without_a_chart_are_empty(number: int) -> None:
    """Of a grid with three columns."""
    chart = Chart("loss", "step", "loss", [Series("a", [1.0, 2.0], [3.0, 4.0])], ["a"])
    figure = draw.picture_of([chart] * number, ["a run"])
    assert [axes.axison for axes in figure.axes] == [i < number for i in range(len(figure.axes))]


def test_an_evaluation_has_no_curves(tmp_path: Path) -> None:
    folder = made_evaluation(tmp_path / "a")
    report.after_run(CONFIG, folder)
    assert not (folder / "curves.png").exists()
