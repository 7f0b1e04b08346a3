"""The files of an evaluation, and the lines that say what is in them."""

import json
import math
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cl import export, runs, summary, trainer
from cl.config import CARDS, to_json
from cl.config.evaluations import plugins, words_having
from cl.config.programs import rooms
from cl.data.augment.recipe import Recipe
from cl.data.module import central_fraction
from cl.data.sets import DECODING
from cl.eval import _card
from cl.eval._memory import Memory
from cl.eval._result import EvalResult, Features
from cl.eval._task import Task
from cl.terminal import one_line


def summary_rows(task: Task, memory: Memory | None = None) -> dict[str, object]:
    """What the settings amount to, as the table that the run begins with shows it.

    Args:
        task: what is evaluated.
        memory: that the evaluations need.
    """
    config, source = task.config, task.source
    weights = f" of {task.file}: {task.report}" if task.file else ", untrained"
    said = " ".join(config.eval) + ", augmented" * config.augment
    rows: dict[str, object] = {
        "evaluation": f"mining into {config.mine}" if config.mine else said,
        "encoder": f"{config.encoder}{weights}",
        "data": f"{source.name}: {source.describe()}",
        **task.shown_preparation,
        **summary.processes(config, task.options["accelerator"]),
    }
    if memory is not None:
        rows["memory"] = memory.describe()
    if not config.mine and {*words_having("trains", plugins(config.eval))} & {*config.eval}:
        rates = getattr(config, "lr_grid", ())
        chosen = (
            config.lr is None and not config.augment and "lr_grid" in rooms(config)["eval_options"]
        )
        lr = f"{config.scaled_lr():g}" if not chosen else "chosen on a held-out tenth"
        lr = " ".join(f"{x:g}" for x in rates) or lr
        rows["batch"] = config.global_batch()
        end = f" to {config.min_lr:g}" if config.min_lr else ""
        layers = summary.say_layer_rates(**summary.rates_of_layers(config, task.encoder))
        rows["learning rate"] = f"{config.optimizer} {lr} ({config.scheduler}{end}){layers}"
        rows["epochs"] = config.epochs
    return rows


def write_results(
    task: Task, results: Mapping[str, EvalResult], cards: list[dict[str, Any]]
) -> None:
    """Write all that is known of the evaluations that are done by now.

    Numbers, cards, confusion matrices, and the true and the predicted class of each image.

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
        for what in ("confusion", "predictions"):
            if (found := getattr(each, what)) is not None:
                file = task.folder / f"{what}-{file_name(name)}.csv"
                np.savetxt(file, found, fmt="%d", delimiter=",")


def file_name(evaluation: str) -> str:
    """The name of an evaluation as part of a file's.

    >>> file_name("package.module:probe")
    'package.module-probe'
    """
    return evaluation.replace(":", "-")


def print_failure(name: str, error: Exception, what: str = "--eval") -> None:
    """Print why an evaluation could not be done; what is no user's error with its traceback."""
    if runs.other_rank():
        return
    if not isinstance(error, ValueError):
        traceback.print_exception(error)
    message = one_line(error)
    where = "" if message.startswith("--") else f"{what} {name}: "
    sys.stderr.write(f"error: {where}{message}\n")


def transfer_table(results: Mapping[str, Mapping[str, EvalResult]]) -> Table:
    """A row for each data set with the first number of each evaluation, and their mean.

    Where it is not the same metric of all data sets, each number has its name, and no mean.

    Args:
        results: by data set and evaluation.
    """
    names = [*dict.fromkeys(name for each in results.values() for name in each)]
    first = {
        d: {n: next(iter(scalars(r).items())) for n, r in e.items()} for d, e in results.items()
    }
    metrics = {n: {e[n][0] for e in first.values() if n in e} for n in names}
    same = {n: next(iter(found)) if len(found) == 1 else "" for n, found in metrics.items()}
    table = Table(title="transfer", title_justify="left", title_style="bold")
    table.add_column("data set", overflow="fold")
    for name in names:
        table.add_column(f"{name} {same[name]}".rstrip(), justify="right")
    for dataset, each in first.items():
        shares = [
            f"{'' if same[n] else each[n][0]} {100 * each[n][1]:.2f} %".lstrip()
            if n in each
            else "-"
            for n in names
        ]
        table.add_row(summary.as_text(dataset), *shares)
    means = []
    for name in names:  # a mean of fewer data sets would be another number
        shares = [each[name][1] for each in first.values() if name in each]
        whole = len(shares) == len(first) and same[name]
        means.append(f"{100 * sum(shares) / len(shares):.2f} %" if whole else "-")
    table.add_section()
    table.add_row(f"mean of {len(first)}", *means)
    return table


def print_location(task: Task) -> None:
    """Print which encoder it was, and where everything is."""
    frozen = " before and after" if task.frozen else ""
    trainer.say(f"{'encoder':12}sha256 {task.fingerprint[:16]}{frozen}")
    trainer.say(f"{'run':12}{task.folder}")


def print_result(name: str, result: EvalResult) -> None:
    """Print an evaluation's numbers: in one line, or as many as a terminal needs for them."""
    numbers = [format_metric(k, v, result) for k, v in scalars(result).items()]
    width = trainer.console.width if trainer.console.is_terminal else math.inf
    for line in filled_lines(f"{name:11} ", numbers, width):
        trainer.say(line)


def filled_lines(name: str, numbers: Sequence[str], width: float) -> list[str]:
    """Lines of numbers, none cut in two; those behind the first are indented as it is.

    >>> filled_lines("knn  ", ["top1 90.25 %", "top5 99.16 %", "map 3 %"], 28)
    ['knn  top1 90.25 %,', '     top5 99.16 %, map 3 %']
    """
    lines, indent = [name], " " * len(name)
    for at, number in enumerate(numbers):
        word = number + "," * (at + 1 < len(numbers))
        if lines[-1] == name:
            lines[-1] += word
        elif len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return lines


def format_metric(name: str, share: float, result: EvalResult) -> str:
    """Format a metric in percent, with its interval where it has one."""
    text = f"{name} {100 * share:.2f} %"
    per_class = result.numbers.get("per_class", ())
    if name == "mean_per_class" and (absent := per_class.count(None)):
        measured = f"{len(per_class) - absent:,} of {len(per_class):,} classes"
        text += f" (of {measured}; the others have no test image)"
    if span := result.numbers.get(f"{name}_95"):
        text += f" (95 %: {100 * span[0]:.2f} to {100 * span[1]:.2f})"
    return text


def scalars(result: EvalResult) -> dict[str, float]:
    """The numbers that are one number each."""
    return {k: v for k, v in result.numbers.items() if isinstance(v, float)}


def all_scalars(results: Mapping[str, EvalResult]) -> dict[str, float]:
    """Those of all evaluations, as wandb gets them."""
    return {f"{name}/{k}": v for name, each in results.items() for k, v in scalars(each).items()}


def plot(task: Task, test: Features, results: Mapping[str, EvalResult]) -> list[Path]:
    """Plot what `--pictures` shows into the run's folder.

    Args:
        task: what is evaluated.
        test: features and labels of the test part.
        results: by the evaluations' names.

    Returns:
        The files.
    """
    if task.source.multilabel:
        trainer.say(f"{'pictures':12}none: they show images of one class each")
        return []
    from cl.eval import _plots  # matplotlib, which nothing else here needs

    confusions = {file_name(k): r.confusion for k, r in results.items() if r.confusion is not None}
    source, seed, file = task.source, task.config.seed, task.file
    weights = f" of {file.parent.name}/{file.name}" if file else ""
    about = f"{task.folder.name}: {task.about['encoder']}{weights} on {source.name}"
    parts = source.val, source.classes, confusions
    files = _plots.plot_all(task.folder, test, *parts, seed, about, scatter=task.config.scatter)
    trainer.say(f"{'pictures':12}{', '.join(path.name for path in files)}")
    return files


def export_encoder(task: Task, results: Mapping[str, EvalResult]) -> None:
    """Write `encoder.onnx`: the encoder that was trained, or the one that was evaluated."""
    trained = [each.encoder for each in results.values() if each.encoder is not None]
    file = task.folder / "encoder.onnx"
    encoder, recipe = (*trained, task.encoder)[0], task.recipe
    metadata = preparation_metadata(task.about["encoder"], recipe, task.about)
    apart = export.export_onnx(encoder, recipe.size, file, recipe.channels, metadata)
    within = f"features within {apart:.1g} of the largest of the encoder's"
    trainer.say(f"{'exported':12}{file}, {within}")


def preparation_metadata(name: str, recipe: Recipe, about: Mapping[str, Any]) -> dict[str, str]:
    """How images are prepared for an encoder, as JSON by name, for a file of other programs.

    Args:
        name: the encoder's.
        recipe: of its plain images.
        about: what its file says of how images become pixels.
    """
    said = {
        "encoder": name,
        "size": recipe.size,
        "channels": recipe.channels,
        "mean": recipe.mean,
        "std": recipe.std,
        "central": central_fraction(recipe),
        "interpolation": recipe.interpolation,
    }
    said |= {key: about[key] for key in DECODING if about.get(key) is not None}
    return {key: json.dumps(value) for key, value in said.items()}


def verify(earlier: Sequence[Mapping[str, Any]], cards: Sequence[Mapping[str, Any]]) -> bool:
    """Compare earlier cards with those that were computed again, and print where they differ.

    Returns:
        Whether all are the same.
    """
    same = True
    for card in earlier:
        name = card["evaluation"]
        again = next((each for each in cards if each["evaluation"] == name), None)
        differences = _card.diff_cards(card, again) if again else ["it was not computed again"]
        trainer.say(f"{name}: " + ("; ".join(differences) or "the same as then"))
        other = [k for k, v in card["versions"].items() if _card.versions().get(k) != v]
        if differences and other:
            trainer.say(f"{name}: other versions than then: {', '.join(other)}")
        same = same and not differences
    return same
