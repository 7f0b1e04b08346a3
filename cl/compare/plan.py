"""A plan says what is compared: a TOML file of rows, seeds and a measure. It is data.

name = "losses-digits"
run = "digits resnet6_w16 --epochs 20 --no-baseline"   # words of main_contrastive.py
evaluate = "--eval linear knn"                         # words of main_linear.py
seeds = [0, 1, 2]
measure = "linear/top1"
reference = "NT-Xent"                                  # optional: the row others are compared to

[rows]
"NT-Xent" = "--loss nt_xent"
"DHEL" = "--loss dhel"
supervised = { evaluate = "--eval supervised", measure = "supervised/top1" }

[grid]                                                 # optional, multiplies the rows
temperature = [0.07, 0.2]
"""

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from cl.config import ConfigError
from cl.config.schema import as_words, did_you_mean, either, spell

KEYS: dict[str, type] = {
    "name": str,
    "run": str,
    "evaluate": str,
    "seeds": list,
    "measure": str,
    "reference": str,
    "rows": dict,
    "grid": dict,
}
NOUNS = {str: "words in quotes", list: "a list", dict: "a table"}
OPTIONAL = ("reference", "grid")
OF_A_ROW = ("run", "evaluate", "measure")
# What the comparison itself says of each cell, and what would make a cell no run.
GIVEN = ("seed", "seeds", "run_id", "output", "resume_training_from", "auto_resume")
GIVEN += ("pretrained_feature_extractor",)
REFUSED = ("config", "dry_run", "show_views", "verify", "transfer", "mine", "help")


@dataclass(frozen=True)
class Row:
    """What is compared with the other rows.

    Args:
        name: in the table.
        run: words behind those of the plan for `main_contrastive.py`; None for a row that is not
            pretrained.
        evaluate: words for `main_linear.py`, instead of the plan's.
        measure: the number that is compared, `EVALUATION/NUMBER`, instead of the plan's; of
            `EVALUATION` alone it is the first.
        of: the row of the plan that the grid multiplied, where it did.
        grid: the values that the grid gave it, by flag.
    """

    name: str
    run: tuple[str, ...] | None
    evaluate: tuple[str, ...]
    measure: str
    of: str = ""
    grid: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Args:
        name: of the comparison, and of its folder.
        run: words of `main_contrastive.py` that all rows share, data set and encoder first.
        seeds: of each row.
        measure: the number that is compared, `EVALUATION/NUMBER`.
        reference: the row that the others are compared with, if there is one.
        rows: in the order of the table.
    """

    name: str
    run: tuple[str, ...]
    seeds: tuple[int, ...]
    measure: str
    reference: str | None
    rows: tuple[Row, ...]


def read_plan(file: Path) -> Comparison:
    """The plan in a TOML file.

    Raises:
        ConfigError: with a sentence for each fault.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from None
    if faults := [*faults_of_keys(found)]:
        raise ConfigError(*(f"{file}: {fault}" for fault in faults))
    plan = build_comparison(found)
    if faults := [*faults_of(plan, found)]:
        raise ConfigError(*(f"{file}: {fault}" for fault in faults))
    return plan


def faults_of_keys(found: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the keys of a plan and the types of their values."""
    for key, value in found.items():
        if key not in KEYS:
            near = did_you_mean(key, KEYS) or f"; keys are {either(KEYS, 'and')}."
            yield f"unknown key {key}{near}"
        elif not isinstance(value, KEYS[key]):
            yield f"{key} must be {NOUNS[KEYS[key]]}, not {value}."
    for key in KEYS:
        if key not in found and key not in OPTIONAL:
            yield f"{key} is missing."
    seeds = found.get("seeds", [0])
    if isinstance(seeds, list) and not (seeds and all(type(seed) is int for seed in seeds)):
        yield f"seeds must be whole numbers, not {seeds}."
    for name, row in found.get("rows", {}).items() if isinstance(found.get("rows"), dict) else ():
        yield from faults_of_row(name, row)


def faults_of_row(name: str, row: object) -> Iterator[str]:
    """What is wrong with the value of a row: words, or a table of them."""
    if isinstance(row, str):
        return
    if not isinstance(row, dict):
        yield f"row {name} must be words in quotes, or a table with {', '.join(OF_A_ROW)}."
        return
    for key, value in row.items():
        if key not in OF_A_ROW:
            yield f"row {name} has {key}{did_you_mean(key, OF_A_ROW) or '.'}"
        elif not isinstance(value, str):
            yield f"row {name}: {key} must be words in quotes, not {value}."
    if not {"run", "evaluate"} & row.keys():
        yield f"row {name} must have run, evaluate or both."


def build_comparison(found: Mapping[str, Any]) -> Comparison:
    """The plan of keys that are right."""
    evaluate, measure = shlex.split(found["evaluate"]), str(found["measure"])
    rows = list[Row]()
    for name, given in found["rows"].items():
        row: dict[str, str] = {"run": given} if isinstance(given, str) else given
        own = shlex.split(row["evaluate"]) if "evaluate" in row else evaluate
        run = tuple(shlex.split(row["run"])) if "run" in row else None
        rows.append(Row(name, run, tuple(own), str(row.get("measure", measure))))
    return Comparison(
        name=found["name"],
        run=tuple(shlex.split(found["run"])),
        seeds=tuple(found["seeds"]),
        measure=measure,
        reference=found.get("reference"),
        rows=tuple(multiplied(rows, found.get("grid", {}))),
    )


def multiplied(rows: Iterable[Row], grid: Mapping[str, Any]) -> Iterator[Row]:
    """Each pretrained row once for each combination of the grid's values."""
    axes = [
        [(flag, value) for value in (values if isinstance(values, list) else [values])]
        for flag, values in grid.items()
    ]
    for row in rows:
        if row.run is None or not grid:
            yield row
            continue
        for chosen in product(*axes):
            name = " ".join([row.name, *(f"{flag}={spell(value)}" for flag, value in chosen)])
            words = [word for flag, value in chosen for word in as_words(flag, value)]
            yield replace(row, name=name, run=(*row.run, *words), of=row.name, grid=dict(chosen))


def faults_of(plan: Comparison, found: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a plan whose keys are right."""
    if not re.fullmatch(r"\w[\w.-]*", plan.name):
        yield f"name must be made of letters, digits, _, - and ., not {plan.name}."
    if len({*plan.seeds}) < len(plan.seeds):
        yield f"seeds must name each seed once, not {spell(plan.seeds)}."
    if len(plan.rows) < 2:
        yield "a comparison needs at least two rows."
    names = [row.name for row in plan.rows]
    if plan.reference is not None and plan.reference not in names:
        near = did_you_mean(plan.reference, names) or f"; rows are {', '.join(names)}."
        yield f"reference {plan.reference} is no row{near}"
    for row in plan.rows:
        evaluation, slash, number = row.measure.partition("/")
        if not (evaluation and slash and number):
            yield f"measure must be EVALUATION/NUMBER, as linear/top1, not {row.measure}."
    texts = {"run": plan.run, "evaluate": shlex.split(found["evaluate"])}
    texts |= {f"row {row.name}": (*(row.run or ()), *row.evaluate) for row in plan.rows}
    for where, words in texts.items():
        yield from faults_of_words(where, words)


def faults_of_words(where: str, words: Iterable[str]) -> Iterator[str]:
    """Which flags a plan's words have that are not theirs to set."""
    for word in words:
        flag = word.partition("=")[0].removeprefix("--")
        if word.startswith("--") and flag in GIVEN:
            yield f"{where} has --{flag}, which the comparison gives to each cell."
        elif word.startswith("--") and flag in REFUSED:
            yield f"{where} has --{flag}, which a comparison cannot have."
