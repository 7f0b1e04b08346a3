"""The files of an evaluation, and the lines that say what is in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl import runs
from cl.config import CARDS, to_json
from cl.eval import _card
from cl.eval._result import EvalResult
from cl.eval._task import Task


def write(
    task: Task,
    results: Mapping[str, EvalResult],
    cards: list[dict[str, Any]],
) -> None:
    """Write numbers, cards and confusion matrices, of all evaluations that are done by now.

    Args:
        task: what is evaluated.
        results: by the evaluations' names.
        cards: theirs.
    """
    numbers: dict[str, Any] = {name: each.numbers for name, each in results.items()}
    numbers["encoder"] = task.fingerprint
    if task.frozen:  # as was checked
        numbers["encoder_afterwards"] = task.fingerprint
    numbers |= {"encoder_file": str(task.file) if task.file else None}
    derived = {"global_batch_size": task.config.global_batch(), "cards": cards}
    for name, text in (
        (runs.RESULT, json.dumps(numbers, indent=2) + "\n"),
        (CARDS, to_json(task.config, derived)),
    ):
        new = task.folder / f"{name}.new"
        new.write_text(text)
        new.replace(task.folder / name)
    for name, each in results.items():
        if each.confusion is not None:
            file = task.folder / f"confusion-{file_name(name)}.csv"
            np.savetxt(file, each.confusion, fmt="%d", delimiter=",")


def file_name(evaluation: str) -> str:
    """The name of an evaluation as part of a file's.

    >>> file_name("package.module:probe")
    'package.module-probe'
    """
    return evaluation.replace(":", "-")


def last_lines(task: Task) -> list[str]:
    """Which encoder it was, and where everything is."""
    frozen = " before and after" if task.frozen else ""
    return [f"{'encoder':12}sha256 {task.fingerprint[:16]}{frozen}", f"{'run':12}{task.folder}"]


def line(name: str, result: EvalResult) -> str:
    """An evaluation's numbers in one line."""
    numbers = (format_metric(k, v, result) for k, v in scalars(result).items())
    return f"{name:12}{', '.join(numbers)}"


def format_metric(name: str, share: float, result: EvalResult) -> str:
    """A metric in words, with its interval where it has one."""
    text = f"{name} {100 * share:.2f} %"
    if span := result.numbers.get(f"{name}_95"):
        text += f" (95 %: {100 * span[0]:.2f} to {100 * span[1]:.2f})"
    return text


def scalars(result: EvalResult) -> dict[str, float]:
    """The numbers that are one number each."""
    return {k: v for k, v in result.numbers.items() if isinstance(v, float)}


def all_scalars(results: Mapping[str, EvalResult]) -> dict[str, float]:
    """Those of all evaluations, as wandb gets them."""
    return {f"{name}/{k}": v for name, each in results.items() for k, v in scalars(each).items()}


def plot(task: Task, test: Any, results: Mapping[str, EvalResult]) -> list[Path]:
    """The pictures of `--pictures`, in the run's folder."""
    from cl.eval import _pictures  # matplotlib, which nothing else here needs

    confusions = {file_name(k): r.confusion for k, r in results.items() if r.confusion is not None}
    source, seed = task.source, task.config.seed
    return _pictures.draw(task.folder, test, source.val, source.classes, confusions, seed)


def compare(
    earlier: Mapping[str, Any], cards: Sequence[Mapping[str, Any]]
) -> tuple[bool, list[str]]:
    """Compare a card with the one of the same evaluation that was computed again.

    Returns:
        Whether they are the same, and what there is to say.
    """
    name = earlier["evaluation"]
    again = next((each for each in cards if each["evaluation"] == name), None)
    found = _card.diff_cards(earlier, again) if again else ["not computed"]
    lines = [f"{name}: " + ("; ".join(found) or "the same as then")]
    other = [k for k, v in earlier["versions"].items() if _card.versions().get(k) != v]
    if found and other:
        lines.append(f"{name}: other versions than then: {', '.join(other)}")
    return not found, lines
