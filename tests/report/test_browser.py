"""The page in a browser: as wide as the window, silent, complete also without scripts."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cl.report import draw, write_report
from cl.runs.listing import read_run
from tests.runs.made import CURVE, ENDS, made_evaluation, made_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium"),
    pytest.mark.skipif(not draw.has_vega(), reason="vl-convert-python is not installed"),
]
HOSTILE = "<img src=x onerror=alert(1)>&lt;\"' " + 40 * "wide"
FRAME = """<body><iframe id=frame style="width:{width}px;height:3000px" {sandbox} src="{page}">
</iframe><script>onload = () => setTimeout(() => {{
  const frame = document.getElementById("frame"), inside = frame.contentDocument;
  const count = (what) => inside.querySelectorAll(what).length;
  document.body.dataset.found = JSON.stringify({{
    scroll: inside.documentElement.scrollWidth, tables: count("table"), images: count("img"),
    live: count(".live svg"), still: count("figure > svg"), charts: count("figure[id]"),
    ink: frame.contentWindow.getComputedStyle(inside.body).color,
    requests: frame.contentWindow.performance.getEntriesByType("resource").length }});
}}, 4000)</script>"""


def browse(page: Path, home: Path, width: int, scheme: int, sandbox: str = "") -> tuple:
    """What is found in a page after its scripts, and what stands in the console."""
    frame = home / "frame.html"
    frame.write_text(FRAME.format(width=width, sandbox=sandbox, page=page.as_uri()))
    command = [
        str(BROWSER),
        *"--headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom".split(),
        *"--allow-file-access-from-files --virtual-time-budget=15000".split(),
        *("--window-size=1500,900", f"--user-data-dir={home / 'profile'}"),
        *(f"--blink-settings=preferredColorScheme={scheme}", frame.as_uri()),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (found,) = re.findall(r'data-found="(.*?)"', ended.stdout)
    said = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(found.replace("&quot;", '"')), said


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, one with a hostile name and a gap, and an evaluation."""
    root = tmp_path_factory.mktemp("runs")
    rows = [row | ENDS for row in CURVE]
    rows[1]["train/loss"] = "nan"
    made_run(root / "a", "", rows)
    config = json.loads((made_run(root / "b", "--loss dcl") / "config.json").read_text())
    (root / "b" / "config.json").write_text(json.dumps(config | {"seed": HOSTILE}))
    hostile = made_run(root / HOSTILE)
    out = root / "report.html"
    runs = [root / "a", root / "b", hostile, made_evaluation(root / "c")]
    write_report([read_run(run) for run in runs], out)
    return out


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize(("scheme", "ink"), [(0, "rgb(232, 234, 238)"), (1, "rgb(22, 24, 29)")])
def test_in_a_window(width: int, scheme: int, ink: str, report: Path, tmp_path: Path) -> None:
    found, console = browse(report, tmp_path, width, scheme)
    assert console == []
    assert found["live"] == found["charts"] > 4
    assert (found["still"], found["images"], found["requests"]) == (0, 0, 0)
    assert found["scroll"] <= width
    assert found["ink"] == ink


def test_without_scripts_charts_and_tables_stand(report: Path, tmp_path: Path) -> None:
    found, console = browse(report, tmp_path, 420, 0, 'sandbox="allow-same-origin"')
    assert all("Blocked script execution" in line for line in console)
    assert found["still"] == found["charts"] > 4
    assert (found["live"], found["images"], found["requests"]) == (0, 0, 0)
    assert found["tables"] > 4
    assert found["scroll"] <= 420
