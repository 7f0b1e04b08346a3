"""Runs by what is true of them: `--where loss=dcl "epochs>=50"` and `--sort linear`."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from cl.config.schema import did_you_mean, spell
from cl.runs.listing import Listed

SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(r"([\w/:.-]+?)(>=|<=|!=|=|>|<)(.*)", re.DOTALL)


def select_runs(runs: Sequence[Listed], conditions: Sequence[str]) -> list[Listed]:
    """The runs of which every condition is true.

    A run without the value has no place on either side of a sign, so that no condition is true.

    Args:
        runs: any number.
        conditions: `NAME SIGN VALUE` in a word each: a setting, a number that was reached, or
            `state`; the signs are those of `SIGNS`, and a value may be a percentage.

    Raises:
        ValueError: a word is no condition, or none of the runs has such a value.
    """
    for word in conditions:
        found = CONDITION.fullmatch(word)
        if not found:
            raise ValueError(f"--where {word} must be NAME=VALUE, with = != > >= < or <=")
        name, sign, value = found.groups()
        check_known(runs, "--where", name)
        runs = [run for run in runs if satisfies(run.values.get(name), sign, value)]
    return list(runs)


def satisfies(have: Any, sign: str, wanted: str) -> bool:
    """Whether a condition is true of a value.

    >>> satisfies(0.912, ">", "91%"), satisfies(["linear", "knn"], "=", "knn")
    (True, True)
    >>> satisfies(None, "!=", "1")
    False
    """
    if have is None:
        return sign == "=" and wanted.lower() == "none"
    if isinstance(have, list | tuple) and sign in ("=", "!="):
        among = wanted in (*map(spell, have), spell(have))
        return among == (sign == "=")
    number = as_number(wanted)
    if number is not None and isinstance(have, int | float) and not isinstance(have, bool):
        return SIGNS[sign](have, number)
    if sign not in ("=", "!="):
        return isinstance(have, str) and SIGNS[sign](have, wanted)
    return SIGNS[sign](spell(have).lower(), wanted.lower())


def as_number(word: str) -> float | None:
    """The number that a word is; a percentage is a hundredth of it."""
    try:
        return float(word[:-1]) / 100 if word.endswith("%") else float(word)
    except ValueError:
        return None


def sort_runs(runs: Sequence[Listed], name: str) -> list[Listed]:
    """The runs by a value, numbers from the largest on; runs without it are last.

    Raises:
        ValueError: none of the runs has such a value.
    """
    check_known(runs, "--sort", name)

    def place(run: Listed) -> tuple[int, float, str]:
        value = run.values.get(name)
        if isinstance(value, int | float) and value == value:  # not NaN, which has no place
            return 0, -value, ""
        return (2, 0, "") if value is None or isinstance(value, float) else (1, 0, spell(value))

    return sorted(runs, key=place)


def check_known(runs: Sequence[Listed], flag: str, name: str) -> None:
    """Refuse a name that no run has.

    Raises:
        ValueError: with the nearest name.
    """
    known = {key for run in runs for key in run.values}
    if runs and name not in known:
        raise ValueError(f"{flag} {name}: no run has it{did_you_mean(name, sorted(known))}")
