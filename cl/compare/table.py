"""The table of a comparison: every cell's numbers, each row's interval, significant differences.

`table.json` has everything, `table.csv` a line for each cell, `table.md` what people read.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from cl import logs, runs
from cl.compare import statistics
from cl.compare.cells import PRETRAIN_LOG, Cell, read_lines
from cl.compare.plan import Comparison
from cl.compare.statistics import Difference
from cl.report.comparison import number_of, own_measure, spell_p
from cl.terminal import one_line

STEM = "table"
REACHED = 0.95  # of the best row's final online probe
PROBE, KNN = "val/probe_top1", "val/knn_top1"
STEPS = "steps_to_95"
# What stands behind the measure: title, key among a cell's numbers, form.
COLUMNS = (
    ("probe top-1", PROBE, "{:.1%}"),
    ("probe top-5", "val/probe_top5", "{:.1%}"),
    ("kNN top-1", KNN, "{:.1%}"),
    ("alignment", "monitor/alignment", "{:.3f}"),
    ("uniformity", "monitor/uniformity", "{:.2f}"),
    ("effective rank", "monitor/effective_rank", "{:.1f}"),
    ("steps to 95 %", STEPS, "{:.0f}"),
    ("ms a step", "ms_a_step", "{:.0f}"),
    ("peak MB", "peak_mb", "{:.0f}"),
)


def collect(plan: Comparison, cells: Sequence[Cell], others: Sequence[str] = ()) -> dict[str, Any]:
    """All that is known of a comparison, as plain data.

    Args:
        plan: what is compared.
        cells: of the plan.
        others: folders that stand beside and are not of this plan.

    Returns:
        `rows` with values by seed, mean and interval; `differences` with simultaneous intervals;
        `cells` with state and numbers; `notes`, what must be said beside the table.
    """
    found = [describe_cell(cell) for cell in cells]
    quoted = [c.measure for c in cells if c.cards and c.row.measure == plan.measure]
    measure = plan.measure if "/" in plan.measure or not quoted else quoted[0]
    own = {cell.row.name: cell.measure for cell in cells if cell.cards and cell.measure != measure}
    add_steps(found, {cell.folder.name: probe_curve(cell) for cell in cells})
    values = {
        row.name: {c["seed"]: c["value"] for c in found if c["row"] == row.name and is_done(c)}
        for row in plan.rows
    }
    apart = [k for k, name in own.items() if values[k] and number_of(name) != number_of(measure)]
    differences, notes = differences_of(
        plan, {row: seeds for row, seeds in values.items() if seeds and row not in apart}
    )
    notes += [f"{row} has another number, {own[row]}, and is compared with no row" for row in apart]
    answers = dict[str, dict[int, Any]]()
    for cell, about in zip(cells, found, strict=True):
        if is_done(about) and (given := cell.predictions()) is not None:
            answers.setdefault(cell.row.name, {})[cell.seed] = given
    notes += [f"{label(c)}: {c['state']}{reason_of(c)}" for c in found if not is_done(c)]
    notes += [f"{label(c)} starts from another {what}" for c in found for what in other(c, found)]
    notes += [f"{name} is not of this plan" for name in others]
    return {
        "name": plan.name,
        "measure": measure,
        "reference": plan.reference,
        "rows": [
            summarize(row.name, values[row.name], found)
            | {"measure": own.get(row.name, measure), "of": row.of, "grid": {**row.grid}}
            for row in plan.rows
        ],
        "differences": [
            asdict(d) | {"significant": d.significant, "claim": claim(d)} | images
            for d, images in zip(differences, on_images(differences, answers), strict=True)
        ],
        "cells": found,
        "notes": notes,
    }


def is_done(cell: Mapping[str, Any]) -> bool:
    return cell["state"] == "done"


def label(cell: Mapping[str, Any]) -> str:
    return f"{cell['row']}, seed {cell['seed']}"


def reason_of(cell: Mapping[str, Any]) -> str:
    return f": {cell['reason']}" * bool(cell["reason"])


def describe_cell(cell: Cell) -> dict[str, Any]:
    """One cell: its state, where it started, and all of its numbers."""
    cards, state, why = cell.cards, cell.state, cell.reason
    numbers = {
        f"{evaluation}/{name}": value
        for evaluation, card in cards.items()
        for name, value in card["numbers"].items()
        if isinstance(value, int | float)
    }
    said = read_lines(cell.folder / PRETRAIN_LOG)
    collapse = [line[line.index("COLLAPSED") :] for line in said if "COLLAPSED" in line]
    if state == "done" and collapse:
        state, why = "failed", collapse[-1]
    if state == "done" and cell.measure not in numbers:
        state, why = "failed", f"it has no {cell.measure}, only {', '.join(sorted(numbers))}"
    evaluation, _, name = cell.measure.partition("/")
    return {
        "row": cell.row.name,
        "seed": cell.seed,
        "folder": cell.folder.name,
        "state": state,
        "reason": why if state in ("failed", "interrupted") else "",
        "value": numbers.get(cell.measure),
        "test_images_95": cards.get(evaluation, {}).get("numbers", {}).get(f"{name}_95"),
        "start": start_sums(cell),
        "numbers": numbers | online(cell) | of_the_log(said),
    }


def start_sums(cell: Cell) -> dict[str, str]:
    """The sums of the encoder at step 0 and of the first batches, of a row that is pretrained."""
    try:
        derived = json.loads((cell.folder / runs.CONFIG).read_text())["derived"]
    except (OSError, ValueError, KeyError):
        return {}
    return {key: derived[key] for key in runs.START if key in derived}


def other(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """In what a cell starts otherwise than the first one of its seed."""
    first = next(
        c["start"] for c in cells if c["seed"] == cell["seed"] and (c["start"] or c is cell)
    )
    for key, value in cell["start"].items():
        if first.get(key) != value:
            yield key.replace("_", " ")


def online(cell: Cell) -> dict[str, float]:
    """The newest number of each column of a run's metrics, and the median time of a step."""
    rows = logs.read_metrics(cell.folder / runs.METRICS)
    newest = {key: float(value) for row in rows for key, value in row.items() if key and value}
    rates = [float(row["images_per_s"]) for row in rows if row.get("images_per_s")]
    rates = [rate for rate in rates if rate > 0]
    time = {"ms_a_step": 1000 * cell.training.global_batch() / median(rates)} if rates else {}
    return {k: v for k, v in newest.items() if "/" in k and math.isfinite(v)} | time


def of_the_log(lines: Sequence[str]) -> dict[str, float]:
    """The peak memory, and how many cells ran at a time, as the last line of a log says."""
    found = re.search(r", (\d+) MB, (\d+) at a time$", lines[-1]) if lines else None
    return {"peak_mb": int(found[1]), "at_a_time": int(found[2])} if found else {}


def probe_curve(cell: Cell) -> list[tuple[int, float]]:
    """Step and accuracy of the online probe at each validation."""
    rows = logs.read_metrics(cell.folder / runs.METRICS)
    return [(int(row["step"]), float(row[PROBE])) for row in rows if row.get(PROBE)]


def add_steps(
    cells: Sequence[dict[str, Any]], curves: Mapping[str, Sequence[tuple[int, float]]]
) -> None:
    """Write into each cell when its probe reached 95 % of the best row's final one; else None."""
    final = dict[str, list[float]]()
    for cell in cells:
        if curves[cell["folder"]] and is_done(cell):
            final.setdefault(cell["row"], []).append(curves[cell["folder"]][-1][1])
    goal = REACHED * max((sum(v) / len(v) for v in final.values()), default=0)
    for cell in cells:
        if curves[cell["folder"]] and is_done(cell):
            steps = (step for step, top1 in curves[cell["folder"]] if top1 >= goal)
            cell["numbers"][STEPS] = next(steps, None)


def differences_of(
    plan: Comparison, values: Mapping[str, Mapping[int, float]]
) -> tuple[list[Difference], list[str]]:
    """The differences of rows, and what is to be said of them."""
    if len(values) < 2:
        return [], []
    try:
        reference = plan.reference if plan.reference in values else None
        model = statistics.fit_blocks((row, s, v) for row in values for s, v in values[row].items())
        if reference is None:
            found = statistics.all_pairs(model)
        else:
            found = statistics.against(model, reference)
        notes = [
            f"{name} spreads {ratio:.1f} times as far over seeds as the others (Levene p = {p:.2g})"
            for name, ratio, p in statistics.uneven(model)
        ]
    except ValueError as error:
        return [], [f"{error}"]
    if plan.reference and reference is None:
        notes.append(f"the reference {plan.reference} has no value: all pairs are compared")
    return found, notes


def on_images(
    differences: Sequence[Difference], answers: Mapping[str, Mapping[int, Any]]
) -> list[dict[str, dict[str, float]]]:
    """McNemar's p-values of each difference on the test images, by seed.

    Args:
        differences: each of two rows; all of a table are one family.
        answers: `Cell.predictions` by row and seed.

    Returns:
        Of each difference `mcnemar`, the p-values as they are, and `mcnemar_holm`, adjusted for all
        differences and seeds of the table.
    """
    found = list[dict[str, float]]()
    for d in differences:
        one, other = answers.get(d.row, {}), answers.get(d.reference, {})
        by_seed = {
            str(seed): statistics.mcnemar(one[seed], other[seed]) for seed in one if seed in other
        }
        found.append({seed: p for seed, p in by_seed.items() if p is not None})
    adjusted = iter(statistics.holm([p for each in found for p in each.values()]))
    return [
        {"mcnemar": each, "mcnemar_holm": {seed: next(adjusted) for seed in each}} for each in found
    ]


def summarize(row: str, values: Mapping[int, float], cells: Sequence[Any]) -> dict[str, Any]:
    """A row: its values by seed, their interval, and the median of its other numbers.

    A seed that has not reached the goal (see `add_steps`) counts as one with infinitely many steps.
    """
    own = [c for c in cells if c["row"] == row and is_done(c)]
    numbers = {}
    for key in {key for c in own for key in c["numbers"]}:
        each = (c["numbers"][key] for c in own if key in c["numbers"])
        middle = median(math.inf if value is None else value for value in each)
        numbers[key] = middle if middle < math.inf else None
    steps = [c["numbers"][STEPS] for c in own if STEPS in c["numbers"]]
    there = {"mean": None, "low": None, "high": None, "n": 0}
    if values:
        there = asdict(statistics.t_interval([*values.values()]))
    states = [c["state"] for c in cells if c["row"] == row and not is_done(c)]
    sampling = [c["test_images_95"] for c in own if c["test_images_95"]]
    half = max(((high - low) / 2 for low, high in sampling), default=None)
    return {"row": row, "values": {str(k): v for k, v in values.items()}, **there} | {
        "missing": len(states),
        "state": " and ".join(dict.fromkeys(states)),
        "reason": next((c["reason"] for c in cells if c["row"] == row and c["reason"]), ""),
        "test_images_half": half,
        "reached_95": [sum(step is not None for step in steps), len(steps)],
        "numbers": dict(sorted(numbers.items())),
    }


def write(found: Mapping[str, Any], folder: Path) -> str:
    """Write the three files; the Markdown back.

    Args:
        found: see `collect`.
        folder: of the comparison.
    """
    text = markdown(found)
    put(folder / f"{STEM}.json", json.dumps(found, indent=2) + "\n")
    put(folder / f"{STEM}.md", text)
    names = sorted({name for cell in found["cells"] for name in cell["numbers"]})
    new = folder / f"{STEM}.csv.new"
    with new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "seed", "state", "reason", "value", *names])
        for c in found["cells"]:
            head = [c["row"], c["seed"], c["state"], c["reason"], c["value"]]
            numbers = {name: math.inf if v is None else v for name, v in c["numbers"].items()}
            writer.writerow([*head, *(numbers.get(name, "") for name in names)])
    new.replace(folder / f"{STEM}.csv")
    return text


def put(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)


def markdown(found: Mapping[str, Any]) -> str:
    """The table, the differences and the notes."""
    rows, measure = found["rows"], found["measure"]
    top5 = f"{measure.rpartition('/')[0]}/top5"  # beside top-1, which is another evaluation's name
    columns = [c for c in ((top5, top5, "{:.1%}"), *COLUMNS) if c[1] != measure]
    columns = [c for c in columns if any(c[1] in row["numbers"] for row in rows)]
    shared = any(c["numbers"].get("at_a_time", 1) > 1 for c in found["cells"])
    titles = [t + " (shared)" * (shared and t == "ms a step") for t, _, _ in columns]
    lines = [f"# {found['name']}", ""]
    lines += table_of(
        [
            "row",
            "n",
            escape_markdown(f"{measure} in % (95 % over seeds)"),
            "± test images",
            *titles,
        ],
        [
            [
                escape_markdown(row["row"]),
                str(row["n"]) + f" of {row['n'] + row['missing']}" * bool(row["missing"]),
                escape_markdown(spell_interval(row) + own_measure(row, measure)),
                "" if row["test_images_half"] is None else f"{row['test_images_half']:.1%}",
                *(format_number(row, key, form) for _, key, form in columns),
            ]
            for row in rows
        ],
    )
    lines += ["", *(f"- {escape_markdown(line)}" for line in claims(found["differences"])), ""]
    lines += [f"- {escape_markdown(note)}" for note in found["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def brief(found: Mapping[str, Any]) -> Iterator[str]:
    """What a terminal shows: each row's interval, the differences and the notes.

    Args:
        found: see `collect`.
    """
    rows = [("", f"{found['measure']} in %", "95 % over seeds", "n")]
    for row in found["rows"]:
        said = spell_interval(row)  # a state may have several words
        mean, _, span = (said, "", "") if row["mean"] is None else said.partition(" ")
        asked = f" of {row['n'] + row['missing']}" * bool(row["missing"])
        name = row["row"] + own_measure(row, found["measure"])
        rows.append((name, mean, span.strip("()"), f"{row['n']}{asked}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip()
    yield from map(one_line, [*claims(found["differences"]), *found["notes"]])


def table_of(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *body]
    return [f"| {' | '.join(line)} |" for line in lines]


def escape_markdown(text: str) -> str:
    """A name or a message that is no Markdown and one line."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", one_line(text))


def format_number(row: Mapping[str, Any], key: str, form: str) -> str:
    """A number of a row; of steps also how many seeds reached the goal, where not all did."""
    if key not in row["numbers"]:
        return ""
    value = row["numbers"][key]
    said = "not reached" if value is None else form.format(value)
    reached, seeds = row["reached_95"]
    return f"{said} ({reached} of {seeds})" if key == STEPS and reached < seeds else said


def spell_interval(row: Mapping[str, Any]) -> str:
    """As `54.2 (53.1 to 55.3)`, in percent; of one seed no interval, of none why it has none."""
    if row["mean"] is None:
        return row["state"]
    if row["low"] is None:
        return f"{100 * row['mean']:.1f} (n = 1)"
    return f"{100 * row['mean']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def claim(d: Difference) -> str:
    """What can be said of a difference."""
    if d.low is None:
        return "no interval: a second seed is needed"
    if not d.significant or d.p is None:
        return "not told apart"
    said = spell_p(d.p)
    return f"p {said}" if said.startswith("<") else f"p = {said}"


def claims(differences: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each difference, and the smallest one that could have been seen."""
    for d in differences:
        said = f"{d['row']} - {d['reference']} = {100 * d['difference']:+.1f}"
        ends = "" if d["low"] is None else f" ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
        seeds = ", ".join(map(spell_p, (d.get("mcnemar_holm") or {}).values()))
        images = f"; on test images alone, by seed: McNemar's p (Holm) {seeds}" if seeds else ""
        yield f"{said}{ends}, {d['claim']}{images}"
    halves = [(d["high"] - d["low"]) / 2 for d in differences if d["low"] is not None]
    if halves:
        yield (
            f"Intervals hold together at 95 %; the smallest difference that this design tells "
            f"apart is {100 * max(halves):.1f}."
        )
