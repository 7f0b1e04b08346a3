"""The page of a comparison: its table with intervals, rows against rows, and the cells' curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl.report import draw, page
from cl.report.charts import Specified
from cl.terminal import escape_controls

TABLE = "table.json"
LEAST_P = 1e-6  # below which a numerical integral says no more than that
Rows = Sequence[dict[str, Any]]


def read_table(folder: Path) -> dict[str, Any]:
    """The table of a comparison's folder.

    Raises:
        ValueError: there is none that can be read.
    """
    try:
        found = json.loads((folder / TABLE).read_text(encoding="utf-8"))
        rows = found["rows"]
        return found | {"rows": [row for row in rows if row["row"] is not None]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is no comparison: {TABLE}: {error!r}") from None


def sections(table: dict[str, Any]) -> tuple[str, list[Specified]]:
    """The tables of a comparison, and its charts.

    Args:
        table: the content of table.json: `measure`, and `rows` with `row`, `mean`, `low`, `high`,
            `n`, `values` by seed, `measure` of its own, `reason` of one that failed and the `state`
            of its cells that are not done; `differences` with `row`, `reference`, `difference`,
            `low`, `high`, `p`, `claim` and `mcnemar_holm` by seed; only `rows` is needed.
    """
    rows, measure = table["rows"], str(table.get("measure", ""))
    seeds = list(dict.fromkeys(seed for row in rows for seed in row.get("values") or {}))
    body = (
        (
            str(row["row"]) + own_measure(row, measure),
            page.percent(row.get("mean")),
            bounds(row),
            row.get("n"),
            *(page.percent((row.get("values") or {}).get(seed)) for seed in seeds),
            row.get("reason") or row.get("state") or "",
        )
        for row in rows
    )
    head = ("row", "mean", "95 % over seeds", "n", *(f"seed {seed}" for seed in seeds), "")
    parts = ["<h2>Comparison</h2>", page.table(head, body, measure)]
    groups = by_number(rows, measure)
    charts = [chart for shown, own in groups for chart in charts_of_rows(own, shown)]
    if differences := table.get("differences"):
        pairs = [each | {"pair": f"{each['row']} - {each['reference']}"} for each in differences]
        lines = (
            (
                *(d["pair"], signed(d.get("difference")), bounds(d), spell_p(d.get("p"))),
                *(d.get("claim"), ", ".join(map(spell_p, (d.get("mcnemar_holm") or {}).values()))),
            )
            for d in pairs
        )
        titles = ("difference", "", "simultaneous 95 %", "p", "", "McNemar's p by seed (Holm)")
        parts.append(page.table(titles, lines, "Differences, in points"))
        charts.append(("Differences, simultaneous 95 %", forest(pairs, "difference", "pair")))
    plotted = [
        Specified(*chart) for chart in charts if draw.has_vega() and chart[1]["data"]["values"]
    ]
    return "".join(parts), plotted


def by_number(rows: Rows, measure: str) -> list[tuple[str, Rows]]:
    """Rows that can stand on one axis, those of the table's own number first, by their measure.

    Accuracies of two evaluations share an axis, an accuracy and a mean average precision do not.

    Args:
        rows: of a table.
        measure: the table's, of rows that have none of their own.
    """
    found = {number_of(measure): (measure, list[dict[str, Any]]())}
    for row in rows:
        own = measure_of(row, measure)
        found.setdefault(number_of(own), (own, []))[1].append(row)
    return [*found.values()]


def charts_of_rows(rows: Rows, measure: str) -> list[tuple[str, dict[str, Any]]]:
    """The charts of rows with one number: their means, and these by each setting of a grid.

    Args:
        rows: of `by_number`.
        measure: in the titles; a row whose own is another one is named with it.
    """
    rows = [row | {"name": f"{row['row']}{own_measure(row, measure)}"} for row in rows]
    numbers = [flag for flag, values in varied(rows).items() if are_numbers(values)]
    means = f"{measure}: means and 95 % over seeds", forest(rows, "mean", "name")
    return [means, *((f"{measure} by {flag}", by_setting(rows, flag, measure)) for flag in numbers)]


def number_of(measure: str) -> str:
    """The number of EVALUATION/NUMBER."""
    return measure.rpartition("/")[2]


def measure_of(row: Mapping[str, Any], measure: str) -> str:
    """The measure of a row: its own, once there is a value of it, or else the table's."""
    return str(row.get("measure", measure)) if row.get("mean") is not None else measure


def own_measure(row: Mapping[str, Any], measure: str) -> str:
    """The measure of a row behind a comma, where it is not the one shown."""
    own = measure_of(row, measure)
    return f", {own}" if own != measure else ""


def forest(rows: Rows, middle: str, name: str) -> dict[str, Any]:
    """Intervals, a line for each row; one without an interval is a point."""
    values = [
        {
            "name": escape_controls(row[name]),
            "x": row[middle],
            "low": row.get("low"),
            "high": row.get("high"),
        }
        for row in rows
        if isinstance(row.get(middle), int | float)
    ]
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    axis = {"format": ".1%", "title": None}
    scale = {"zero": middle == "difference", "padding": 10}
    x = {"type": "quantitative", "scale": scale, "axis": axis}
    look = {"color": "var(--c1)", "opacity": 1, "tooltip": True}
    whole = [row for row in values if row["low"] is not None and row["high"] is not None]
    line = {
        "data": {"values": whole},
        "mark": {"type": "rule", "strokeWidth": 2, **look},
        "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
    }
    point = {
        "mark": {
            "type": "point",
            "filled": True,
            "size": 60,
            "color": "var(--c1)",
            "tooltip": True,
        },
        "encoding": {"y": y, "x": {**x, "field": "x"}},
    }
    return {
        "$schema": draw.SCHEMA,
        "config": draw.LOOK,
        "width": "container",
        "height": 30 + 24 * len(values),
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "layer": [line, point] if whole else [point],
    }


def varied(rows: Rows) -> dict[str, list[Any]]:
    """The settings of which a grid has several values, each with these."""
    found = dict[str, list[Any]]()
    for row in rows:
        for flag, value in (row.get("grid") or {}).items():
            if value not in found.setdefault(flag, []):
                found[flag].append(value)
    return {flag: values for flag, values in found.items() if len(values) > 1}


def are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)


def by_setting(rows: Rows, flag: str, measure: str) -> dict[str, Any]:
    """Means with their intervals by one setting of a grid, a line for each row it multiplies.

    Where the grid has several values of other settings, each of their combinations is a line, as is
    each evaluation that a number is of.
    """
    values, beside = [], varied(rows).keys() - {flag}
    for row in (row for row in rows if flag in (row.get("grid") or {})):
        others = (f"{name}={value}" for name, value in row["grid"].items() if name in beside)
        name = escape_controls(" ".join([f"{row['of']}{own_measure(row, measure)}", *others]))
        found = {k: row.get(k) for k in ("mean", "low", "high")}
        values.append({"name": name, "x": row["grid"][flag], **found})
    values = [each for each in values if isinstance(each["mean"], int | float)]
    names = list(dict.fromkeys(each["name"] for each in values))
    colors = [draw.color(i, len(names)) for i in range(len(names))]
    x = {"field": "x", "type": "quantitative", "title": flag, "scale": {"zero": False}}
    axis = {"format": ".1%", "title": None}
    y = {"type": "quantitative", "scale": {"zero": False, "padding": 10}, "axis": axis}
    channel = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": names, "range": colors},
        "legend": {"title": None} if names[1:] else None,
    }
    bounded = [each for each in values if each["low"] is not None and each["high"] is not None]
    rule = {
        "data": {"values": bounded},
        "mark": {"type": "rule", "opacity": 0.5},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": channel},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1.8, "point": {"size": 40}, "tooltip": True},
        "encoding": {"x": x, "y": {**y, "field": "mean"}, "color": channel},
    }
    return {
        "$schema": draw.SCHEMA,
        "config": draw.LOOK,
        "width": "container",
        "height": draw.HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "layer": [rule, line] if bounded else [line],
    }


def signed(share: Any) -> str:
    """A difference of shares in points."""
    return f"{100 * share:+.2f}" if isinstance(share, int | float) else ""


def bounds(row: dict[str, Any]) -> str:
    """An interval in percent, or why there is none."""
    low, high = row.get("low"), row.get("high")
    if low is None or high is None:
        return f"n = {row['n']}" if "n" in row else ""
    return f"{100 * low:.2f} to {100 * high:.2f}"


def spell_p(p: Any) -> str:
    """A p-value with two digits, or `< 1e-06`; nothing where there is none.

    >>> spell_p(0.0123), spell_p(1e-9)
    ('0.012', '< 1e-06')
    """
    if not isinstance(p, int | float):
        return ""
    return f"{p:.2g}" if p >= LEAST_P else f"< {LEAST_P:g}"
