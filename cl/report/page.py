"""The page: one HTML file that fetches nothing, in which every name is text."""

import base64
import hashlib
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cl.report import draw
from cl.report.charts import Chart, Specified
from cl.report.style import css
from cl.terminal import escape_controls

LARGE = 200_000  # bytes of a picture, from which on it is stored as JPEG
MOST = 900  # side in pixels of a picture on the page
START = """
const { specs, x, data } = JSON.parse(document.getElementById("data").textContent);
specs.forEach((spec, c) => {
  const points = ([name, p, y]) => y.map((v, i) => ({ name, x: x[p][i], y: v, i }));
  const filled = data[c] ? { ...spec, data: { values: data[c].flatMap(points) } } : spec;
  const figure = document.getElementById("chart" + c), still = figure.querySelector("svg");
  const live = figure.appendChild(document.createElement("div"));
  live.className = "live";
  const settings = { renderer: "svg", actions: false, ast: true };
  vegaEmbed(live, filled, settings)
    .then(() => still.remove(), (error) => { console.error(error); live.remove(); });
});
"""


def escape(content: object) -> str:
    """Any content as text of a page."""
    return html.escape(escape_controls(content))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table in a box of its own, which scrolls where the table is wider than the page.

    Args:
        head: of the columns.
        rows: with a name first; numbers stand to the right.
        caption: above it.
    """
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    lines = [["" if content is None else str(content) for content in row] for row in rows]
    right = [all(map(is_number, column)) for column in zip(*lines, strict=True)] or [False]
    sides = [" class=n" * side for side in (False, *right[1:])]
    sides += [""] * (len(head) - len(sides))

    def cells(row: Sequence[str]) -> str:
        first, *others = map(escape, row)
        more = (
            f"<td{side}>{content}</td>" for side, content in zip(sides[1:], others, strict=True)
        )
        return f"<tr><th scope=row>{first}</th>{''.join(more)}</tr>"

    names = (f"<th scope=col{s}>{escape(n)}</th>" for s, n in zip(sides, head, strict=True))
    body = "".join(map(cells, lines))
    inside = f"{above}<thead><tr>{''.join(names)}</tr></thead><tbody>{body}</tbody>"
    return f"<div class=scroll tabindex=0><table>{inside}</table></div>"


def is_number(text: str) -> bool:
    """Whether a cell begins as a number, or has none.

    >>> [is_number(text) for text in ("12 %", "-1.5", "", "n = 1")]
    [True, True, True, False]
    """
    return not text or text[:2].strip("+-")[:1].isdigit()


def cards(of: Sequence[tuple[str, str]]) -> str:
    """The numbers that are read first."""
    boxes = (f"<div class=card><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in of)
    return f"<div class=cards>{''.join(boxes)}</div>"


def details(title: str, content: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def picture(file: Path) -> str:
    """A picture inside the page, as large as it is seen."""
    name, kind = file.stem, "png"
    content = file.read_bytes()
    if len(content) > LARGE:
        image = Image.open(file).convert("RGB")
        image.thumbnail((MOST, MOST))
        out, kind = io.BytesIO(), "jpeg"
        image.save(out, "JPEG", quality=85)
        content = out.getvalue()
    data = base64.b64encode(content).decode()
    image_tag = f'<img alt="{escape(name)}" src="data:image/{kind};base64,{data}">'
    return f"<figure><figcaption>{escape(name)}</figcaption>{image_tag}</figure>"


def legend(charts: Sequence[Chart | Specified]) -> str:
    """The names of the curves, once for all charts that have too many for one of their own."""
    named = [chart.names for chart in charts if isinstance(chart, Chart)]
    names = max(named, key=len, default=())
    if len(names) <= draw.PALETTE:
        return ""
    colors = [draw.color(i, len(names)) for i in range(len(names))]
    items = (
        f'<li><i style="background:{shade}"></i>{escape(name)}</li>'
        for name, shade in zip(names, colors, strict=True)
    )
    return f"<ul class=legend>{''.join(items)}</ul>"


def figures(charts: Sequence[Chart | Specified], first: int = 0) -> str:
    """The charts as they stand without a script.

    Args:
        charts: some of the page's.
        first: the place of the first of them among all.
    """
    made = (
        f"<figure id=chart{i}{' class=wide' * isinstance(chart, Specified)}>"
        f"<figcaption>{escape(chart.title)}</figcaption>{draw.svg(chart, i)}</figure>"
        for i, chart in enumerate(charts, first)
    )
    return f"{legend(charts)}<div class=charts>{''.join(made)}</div>"


def page(title: str, content: str, charts: Sequence[Chart | Specified]) -> str:
    """The whole file.

    Its policy forbids every request and every script but its own two, which it knows by their sums.

    Args:
        title: of the page.
        content: its body, escaped.
        charts: what the script makes move.
    """
    scripts, hashes = "", "'none'"
    if charts and draw.has_vega():
        programs = (f"(() => {{{draw.javascript()}\n}})();", START)
        data = json.dumps(draw.shared_data(charts), allow_nan=False, separators=(",", ":"))
        data = data.replace("<", "\\u003c")
        scripts = f'<script type="application/json" id=data>{data}</script>'
        scripts += "".join(f"<script>{text}</script>" for text in programs)
        hashes = " ".join(f"'sha256-{policy_sum(text)}'" for text in programs)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:"
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        f"<title>{escape(title)}</title><style>{css()}</style></head>\n"
        f"<body><main>{content}</main>{scripts}</body></html>\n"
    )


def percent(share: Any) -> str:
    """A share of one in percent; nothing where none was measured."""
    return f"{100 * share:.2f} %" if isinstance(share, int | float) else ""


def policy_sum(text: str) -> str:
    """The sum by which a page's policy knows a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def settings_table(settings: dict[str, Any]) -> str:
    """Every setting, by name."""
    return table(("setting", "value"), sorted((k, shown(v)) for k, v in settings.items()))


def shown(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    return str(value)
