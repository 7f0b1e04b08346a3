"""Charts of runs as data: which curves, with which numbers; how they are drawn is `draw`'s."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cl.metrics import COLUMNS, MONITORS, read_metrics
from cl.runs.files import METRICS
from cl.runs.listing import Listed
from cl.terminal import escape_controls

POINTS = 500  # of a curve; more cannot be seen, and cost the page its size
ACCURACIES = {
    "val/probe_top1": "probe, validation",
    "train/probe_top1": "probe, training",
    "val/knn_top1": "kNN, validation",
}
TITLES = {
    "train/loss": "Training loss",
    "train/probe_top1": "Probe accuracy, training",
    "val/probe_top1": "Probe accuracy, validation",
    "val/knn_top1": "kNN accuracy, validation",
    "lr": "Learning rate",
    "images_per_s": "Samples per second",
    "monitor/effective_rank": "Effective rank of the embeddings",
    "monitor/embedding_std": "Standard deviation of the embeddings (1 fills the sphere)",
    "val/loss": "Validation loss",
}
FROM_ZERO = ("lr", "images_per_s", "monitor/effective_rank")
EPOCHS = (*MONITORS, "val/loss", "val/probe_top1")  # columns that only an epoch's end has
NOT_ALONE = ("step", "epoch", "train/probe_loss", "val/probe_top5")  # and what the plane shows
Row = dict[str, str]


@dataclass(frozen=True)
class Series:
    """A curve.

    Args:
        name: of the legend.
        x: places, finite.
        y: values; None is a gap.
    """

    name: str
    x: list[float]
    y: list[float | None]


@dataclass(frozen=True)
class Chart:
    """Curves on the same axes.

    Args:
        title: above it.
        x_title: what the horizontal axis is.
        y_title: what the vertical one is.
        series: those with a number to draw.
        names: of all curves that there could be, which have the same colors in every chart.
        zero: whether the vertical axis starts at zero.
        share: whether the values are shares of one, to be read in percent.
    """

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    names: Sequence[str]
    zero: bool = False
    share: bool = False


@dataclass(frozen=True)
class Specified:
    """A chart that is no curves over steps.

    Args:
        title: above it.
        spec: in Vega-Lite, with its data.
    """

    title: str
    spec: dict[str, Any]


def charts_of(runs: Sequence[Listed]) -> tuple[list[Chart], list[str]]:
    """The charts of runs, and sentences about what was left out of them.

    One run's accuracies share a chart; of several runs each chart has a curve for each. The
    classifiers of evaluations are drawn where there is no pretraining: their loss is another one.

    Args:
        runs: with metrics.csv or without.
    """
    pretrained = [run for run in runs if not run.evaluates] or runs
    tables = {escape_controls(run.name): read_metrics(run.folder / METRICS) for run in pretrained}
    tables = {name: rows for name, rows in tables.items() if rows}
    columns = dict.fromkeys((*COLUMNS, *(c for rows in tables.values() for c in rows[0] if c)))
    one = len(tables) == 1
    made = [curve(tables, "train/loss")]
    if one:
        made.append(accuracies(*tables.values()))
    shown = {"train/loss", *NOT_ALONE, *MONITORS[2:], *(ACCURACIES if one else ())}
    made += [curve(tables, column) for column in columns if column not in shown]
    made.append(plane(tables))
    return [chart for chart in made if chart.series], notes(tables)


def main_charts(run: Listed) -> list[Chart]:
    """The charts that say how a training went: its loss, what validates it, the effective rank."""
    rows = read_metrics(run.folder / METRICS)
    tables = {escape_controls(run.name): rows}
    more = [c for c in rows[0] if c.startswith("val/") and c not in COLUMNS] if rows else []
    loss = replace(curve(tables, "train/loss"), y_title="loss")
    top1 = replace(accuracies(rows), y_title="top-1 accuracy")
    rank = replace(curve(tables, "monitor/effective_rank"), y_title="dimensions")
    made = [loss, top1, *(curve(tables, column) for column in more), rank]
    return [chart for chart in made if chart.series]


def curve(tables: dict[str, list[Row]], column: str) -> Chart:
    """A column over the steps, a curve for each run that has it."""
    series = [one_series(name, rows, "step", column) for name, rows in tables.items()]
    zero, share = column in FROM_ZERO, column.endswith(("top1", "top5"))
    return Chart(TITLES.get(column, column), "step", "", drawable(series), [*tables], zero, share)


def accuracies(rows: list[Row]) -> Chart:
    """All accuracies of one run."""
    series = [one_series(name, rows, "step", column) for column, name in ACCURACIES.items()]
    names, title = [*ACCURACIES.values()], "Top-1 accuracy while training"
    return Chart(title, "step", "", drawable(series), names, share=True)


def plane(tables: dict[str, list[Row]]) -> Chart:
    """Alignment over uniformity, epoch by epoch (Wang and Isola 2020)."""
    x, y = "monitor/uniformity", "monitor/alignment"
    series = [one_series(name, rows, x, y) for name, rows in tables.items()]
    title = "Alignment and uniformity by epoch (both are better when smaller)"
    return Chart(title, "uniformity", "alignment", drawable(series), [*tables])


def one_series(name: str, rows: list[Row], x: str, y: str) -> Series:
    """A curve of the rows that have both entries; one that is not finite is a gap."""
    rows = of_one_kind(rows) if y.startswith("train/") else rows
    found = [(number(row.get(x)), number(row.get(y))) for row in rows if row.get(x) and row.get(y)]
    places = [(a, b) for a, b in thinned(found) if a is not None]
    return Series(name, [a for a, _ in places], [b for _, b in places])


def of_one_kind(rows: list[Row]) -> list[Row]:
    """Rows that are means over equally many steps: those inside of epochs, or the epochs' own.

    On one curve an epoch's mean would be a spike between the steps at its end.
    """
    ends, inside = list[Row](), list[Row]()
    for row in rows:
        (ends if any(row.get(column) for column in EPOCHS) else inside).append(row)
    return inside if len(inside) > len(ends) else ends


def drawable(series: Iterable[Series]) -> list[Series]:
    """Those with a number to draw."""
    return [each for each in series if any(value is not None for value in each.y)]


def thinned(points: list[Any], most: int = POINTS) -> list[Any]:
    """At most so many of them, evenly spread, with the first and the last."""
    if len(points) <= most:
        return points
    last = len(points) - 1
    return [points[round(i * last / (most - 1))] for i in range(most)]


def number(word: str | None) -> float | None:
    """The finite number that a word is, with five digits."""
    try:
        value = float(word or "")
    except ValueError:
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else None


def notes(tables: dict[str, list[Row]]) -> list[str]:
    """What a reader of the charts must know."""
    longest = max(map(len, tables.values()), default=0)
    if longest <= POINTS:
        return []
    return [f"Curves show {POINTS} of up to {longest:,} points, evenly spread."]
