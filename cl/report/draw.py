"""Charts drawn: by Vega-Lite where the extra `report` is installed, else by matplotlib.

Both draw SVG in colors that are CSS variables, so that one drawing is right on light and on dark.
"""

import html
import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cl.report.charts import Chart, Series, Specified, thinned
from cl.report.style import LIGHT
from cl.terminal import escape_controls

PALETTE = 8  # colors of the page's style, --c1 to --c8
DOTS = 60  # points, up to which a curve shows them
FEW = 250  # points of each of many curves that a still drawing shows, two pixels apart
WIDTH, HEIGHT = 460, 210
ACROSS = 3  # charts of a picture
TAG = re.compile(r"<[A-Za-z](?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
PLACED = re.compile(r"(?<=\s)(?:d|transform|points|[xy][12]?|[cdr]?[xy]|r|width|height)=\"[^\"]*\"")
INSIDE = dict(clip=True)  # noqa: C408 - Vega-Lite's word, and a method's name
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
AXIS = {
    "labelColor": "var(--soft)",
    "titleColor": "var(--soft)",
    "gridColor": "var(--line)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "titleFontWeight": "normal",
}
LOOK = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": AXIS,
    "legend": {"labelColor": "var(--ink)", "labelLimit": 150, "orient": "top", "columns": 3},
}


def has_vega() -> bool:
    """Whether the extra `report` is installed."""
    return find_spec("vl_convert") is not None


def color(place: int, count: int) -> str:
    """The color of one of several curves: of the palette, or of as many hues as there are."""
    if count <= PALETTE:
        return f"var(--c{place + 1})"
    return f"hsl({360 * place / count:.0f} 65% 52%)"


def spec(chart: Chart, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A chart in Vega-Lite.

    Args:
        chart: any.
        rows: its data; None leaves them for the page to fill in.
    """
    names, present = list(chart.names), [each.name for each in chart.series]
    legend = {"title": None, "values": present} if 1 < len(names) <= PALETTE else None
    colors = [color(i, len(names)) for i in range(len(names))]
    few = max(len(each.x) for each in chart.series) <= DOTS
    channel = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": names, "range": colors},
        "legend": legend,
    }
    zoom = {"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales"}
    pick = {"name": "pick", "select": {"type": "point", "fields": ["name"]}, "bind": "legend"}
    shown = {"condition": {"param": "pick", "value": 1}, "value": 0.15}
    x = {"field": "x", "type": "quantitative", "title": chart.x_title}
    y = {"field": "y", "type": "quantitative", "title": chart.y_title or None}
    if chart.share:
        y["axis"] = {"format": ".0%"}
    dots = {"filled": True, "size": 26} if few else False
    return {
        "$schema": SCHEMA,
        "config": LOOK,
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"name": "data"} if rows is None else {"values": rows},
        "params": [zoom, pick] if legend else [zoom],
        "mark": {"type": "line", "strokeWidth": 1.8, "point": dots, "tooltip": True, **INSIDE},
        "encoding": {
            "x": {**x, "scale": {"zero": False, "nice": False, "padding": 8}},
            "y": {**y, "scale": {"zero": chart.zero}},
            "color": channel,
            "order": {"field": "i"},
            **({"opacity": shown} if legend else {}),
        },
    }


def points_of(chart: Chart) -> list[dict[str, Any]]:
    """A chart's data as Vega-Lite takes them."""
    return [
        {"name": each.name, "x": x, "y": y, "i": i}
        for each in chart.series
        for i, (x, y) in enumerate(zip(each.x, each.y, strict=True))
    ]


def svg(chart: Chart | Specified, number: int) -> str:
    """A chart as an SVG element with a role and a name.

    Args:
        chart: any.
        number: its place on the page, which makes its identifiers the page's only ones.
    """
    if isinstance(chart, Specified):
        return embedded(vega_svg(chart.spec, 2 * WIDTH), chart.title, number)
    if len(chart.names) > PALETTE:
        few = [Series(s.name, thinned(s.x, FEW), thinned(s.y, FEW)) for s in chart.series]
        chart = replace(chart, series=few)
    made = vega_svg(spec(chart, points_of(chart))) if has_vega() else matplotlib_svg(chart)
    return embedded(made, chart.title, number)


def embedded(made: str, title: str, number: int) -> str:
    """An SVG as an element of a page: its own identifiers, coordinates to a tenth of a pixel."""

    def shorten(found: re.Match[str]) -> str:
        return re.sub(r"(\d\.\d)\d+", r"\1", found.group())

    def of_the_page(tag: re.Match[str]) -> str:
        own = r"(\sid=\"|href=\"#|url\(#)(clip|gradient|[mp](?=[0-9a-f]{10}\b))"
        return PLACED.sub(shorten, re.sub(own, rf"\1c{number}-\2", tag.group()))

    made = TAG.sub(of_the_page, made[made.index("<svg") :])  # text stays as it is
    return made.replace(
        "<svg ", f'<svg role="img" aria-label="{html.escape(escape_controls(title))}" ', 1
    )


def vega_svg(of: dict[str, Any], width: int = WIDTH) -> str:
    """A specification, drawn."""
    import vl_convert  # pyright: ignore[reportMissingImports]

    return vl_convert.vegalite_to_svg({**of, "width": width})


def warm_up() -> None:
    """Start what draws, by a chart of a point: the first one takes half a second longer."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    if has_vega():
        point = Chart("", "", "", [Series("", [0.0], [0.0])], [""])
        vega_svg(spec(point, points_of(point)))


def png(chart: Chart | Specified) -> bytes:
    """A chart in the page's light colors on white, for papers; it needs the extra `report`."""
    import vl_convert  # pyright: ignore[reportMissingImports]

    of = chart.spec if isinstance(chart, Specified) else spec(chart, points_of(chart))
    return vl_convert.vegalite_to_png(lit({**of, "width": WIDTH, "background": "white"}), scale=3.0)


def lit(content: Any) -> Any:
    """A specification with the light theme's colors in place of the variables."""
    if isinstance(content, dict):
        return {k: lit(v) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [lit(v) for v in content]
    if isinstance(content, str) and content.startswith("var(--"):
        return LIGHT[content[6:-1]]
    return content


def matplotlib_svg(chart: Chart) -> str:
    """A chart drawn by matplotlib, its colors then replaced by the page's variables."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.title, "font.size": 9}):
        figure = Figure(figsize=(WIDTH / 90, HEIGHT / 80), layout="constrained")
        draw_on(figure.subplots(), chart)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return re.sub("|".join(LIGHT.values()), variable, file.getvalue())


def draw_on(axes: Any, chart: Chart) -> None:
    """Draw a chart on axes of matplotlib's, in the page's light colors."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    dot = "." if len(chart.series[0].x) <= DOTS else ""
    for each in chart.series:
        values = [float("nan") if y is None else y for y in each.y]
        ink = LIGHT[f"c{chart.names.index(each.name) % PALETTE + 1}"]
        axes.plot(each.x, values, color=ink, label=legend_name(each.name), marker=dot, lw=1.3)
    axes.set(xlabel=chart.x_title, ylabel=chart.y_title)
    axes.tick_params(colors=LIGHT["soft"])
    axes.grid(color=LIGHT["line"])
    for edge in axes.spines.values():
        edge.set_color(LIGHT["line"])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(LIGHT["soft"])
    if all(float(x).is_integer() for each in chart.series for x in each.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if chart.share:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if chart.zero:
        axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
    if 1 < len(chart.names) <= PALETTE:
        axes.legend(frameon=False, labelcolor=LIGHT["ink"], fontsize=8)


def legend_name(name: str) -> str:
    """A name in a drawing: neither hidden from a legend nor a formula."""
    return "\u200b" + name.replace("$", r"\$")


def picture_of(charts: Sequence[Chart], lines: Sequence[str]) -> Any:
    """Charts beside each other as a figure of matplotlib's, on white.

    Args:
        charts: one at least.
        lines: above them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(len(charts), ACROSS)
    rows = -(-len(charts) // columns)
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(4.2 * columns, 0.6 + 2.8 * rows), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False).flat
        for chart, axes in zip(charts, places, strict=False):  # takes no place too many
            draw_on(axes, chart)
            axes.set_title(legend_name(chart.title), fontsize=9)
        for axes in places:
            axes.axis("off")
        figure.suptitle("\n".join(map(legend_name, lines)), fontsize=9)
    return figure


def variable(found: re.Match[str]) -> str:
    """The variable of the page's style that has a color."""
    return next(f"var(--{name})" for name, shade in LIGHT.items() if shade == found.group())


@cache
def javascript() -> str:
    """The program that makes charts move, offline; it is built once and kept by its version."""
    import vl_convert  # pyright: ignore[reportMissingImports]

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cl"
    file = home / f"vega-{version('vl-convert-python')}.js"
    if file.exists():
        return file.read_text(encoding="utf-8")
    text = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed").replace("\r", "")
    text = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        home.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(file)
    except OSError:
        pass  # it is built again the next time
    return text


def shared_data(charts: Sequence[Chart | Specified]) -> dict[str, Any]:
    """All charts for the page's script: each list of places once, whatever has it."""
    places: dict[tuple[float, ...], int] = {}

    def curves(of: Chart) -> list[list[Any]]:
        return [[s.name, places.setdefault(tuple(s.x), len(places)), s.y] for s in of.series]

    data = [None if isinstance(of, Specified) else curves(of) for of in charts]
    specs = [of.spec if isinstance(of, Specified) else spec(of) for of in charts]
    return {"specs": specs, "x": [*places], "data": data}
