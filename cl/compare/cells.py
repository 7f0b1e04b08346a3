"""A cell is one row with one seed: an ordinary run, in a folder whose name holds its settings.

What state it is in is read from the folder alone.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cl import __version__
from cl.callbacks.saver import NOT_SAVED, OUT_OF_TIME
from cl.compare.locks import is_locked
from cl.compare.plan import Comparison, Row
from cl.compare.words import WEIGHTS, data_words, parse_row
from cl.config import CARDS, ConfigError, Linear, Pretrain, parse_linear, to_json
from cl.config.evaluations import meant
from cl.data.sets import Source
from cl.data.sets._sums import data_checksum
from cl.trainer import FREE

State = Literal["planned", "running", "interrupted", "done", "failed"]
PRETRAIN_LOG, LOCK = "pretrain.log", "lock"
EXIT = "exit code "  # how the last line of a log begins
GO_ON = (NOT_SAVED, OUT_OF_TIME)  # exit codes of a run that ended early and has no fault


@dataclass(frozen=True)
class Cell:
    """One row with one seed.

    Args:
        row: of the plan.
        seed: of weights, order and views.
        folder: the cell's own, and the run's.
        pretrain: words of `main_contrastive.py`; none for a row that is not pretrained.
        evaluate: words of `main_linear.py`.
        training: the configuration of the run's words; of a row that is not pretrained the plan's.
        evaluation: the configuration of the evaluation's words.
    """

    row: Row
    seed: int
    folder: Path
    pretrain: tuple[str, ...]
    evaluate: tuple[str, ...]
    training: Pretrain
    evaluation: Linear

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def results(self) -> Path:
        """The folder of the evaluation, inside the cell's."""
        return self.folder / str(self.evaluation.run_id)

    @property
    def evaluate_log(self) -> Path:
        """Where the evaluation's output is kept; another evaluation has another one."""
        return self.results.with_suffix(".log")

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """The protocol cards of the evaluations that are done, by name."""
        try:
            found = json.loads((self.results / CARDS).read_text())["derived"]["cards"]
        except (OSError, ValueError, KeyError):
            return {}
        return {card["evaluation"]: card for card in found}

    @property
    def measure(self) -> str:
        """The number that is compared; of an evaluation alone the first, by which it is quoted."""
        evaluation, slash, _ = self.row.measure.partition("/")
        numbers = self.cards.get(evaluation, {}).get("numbers", {})
        return self.row.measure if slash else f"{evaluation}/{next(iter(numbers), '')}"

    def predictions(self) -> npt.NDArray[np.int64] | None:
        """`(n 2)`, the true and the predicted class of each test image, where top-1 is measured."""
        evaluation, _, number = self.measure.rpartition("/")
        file = self.results / f"predictions-{evaluation.replace(':', '-')}.csv"
        if number != "top1" or not file.exists():
            return None
        return np.loadtxt(file, np.int64, delimiter=",", ndmin=2)

    @property
    def pretrained(self) -> bool:
        """Whether the pretraining came to its end, or there is none."""
        return not self.pretrain or exit_code(self.folder / PRETRAIN_LOG) == 0

    @property
    def state(self) -> State:
        """What the folder says."""
        if {*meant(self.evaluation.eval)} <= self.cards.keys():
            return "done"
        if not self.folder.exists():
            return "planned"
        if is_locked(self.folder / LOCK):
            return "running"
        codes = [exit_code(log) for log in (self.folder / PRETRAIN_LOG, self.evaluate_log)]
        failed = any(code and 0 < code < 128 and code not in GO_ON for code in codes)
        return "failed" if failed else "interrupted"

    @property
    def reason(self) -> str:
        """Why it failed, the last line of an error in its log, or how it was ended early."""
        for log in (self.evaluate_log, self.folder / PRETRAIN_LOG):
            if code := exit_code(log):
                lines = [x for x in read_lines(log)[:-1] if not x.startswith("go on with: ")]
                return reason_in(lines[-1:] if code in GO_ON else lines)
        return ""


def cells_of(plan: Comparison, output: Path, load: Callable[[Pretrain], Source]) -> list[Cell]:
    """All cells of a plan, one seed after the other.

    Args:
        plan: what is compared.
        output: the folder of the comparison.
        load: gives the data of a configuration, whose sum is a part of a folder's name.

    Raises:
        ConfigError: words of a row are wrong, or two rows are the same.
    """
    faults, found, sums = list[str](), list[Cell](), dict[tuple[str, ...], str]()
    for seed in plan.seeds:
        for row in plan.rows:
            try:
                found.append(
                    cell_of(plan, row, seed, output, partial(checksum_of_data, load, sums))
                )
            except ConfigError as error:
                faults += [f"row {row.name}: {text}" for text in error.args]
        if faults:
            raise ConfigError(*faults)
    rows = dict[tuple[int, str, str], str]()
    for cell in found:
        settings = (cell.seed, cell.folder.name.rpartition("-")[2], cell.results.name)
        if settings in rows:
            faults.append(f"rows {rows[settings]} and {cell.row.name} have the same settings.")
        rows[settings] = cell.row.name
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    return found


def checksum_of_data(
    load: Callable[[Pretrain], Source], known: dict[tuple[str, ...], str], config: Pretrain
) -> str:
    """The sum of a configuration's training and validation data; it is computed once."""
    key = data_words(config)
    if key not in known:
        source = load(config)
        known[key] = "-".join(data_checksum(part) for part in (source.train, source.val))
    return known[key]


def cell_of(
    plan: Comparison, row: Row, seed: int, output: Path, data: Callable[[Pretrain], str]
) -> Cell:
    """The cell of a row and a seed.

    Raises:
        ConfigError: the words of the row are wrong, or its measure is no number of its evaluations.
    """
    pretrained, seeded = row.run is not None, ("--seed", str(seed))
    training, evaluate, parsed = parse_row(plan, row, seed)
    evaluation = settings_of(parsed)
    made = settings_of(training) if pretrained else evaluation
    made |= {"data": data(training), "version": __version__}
    title = re.sub(r"[^\w.-]+", "_", row.name).strip("_.-") or "row"
    folder = output / f"{title}-s{seed}-{digest(made)}"
    evaluate += (WEIGHTS, str(folder)) if pretrained else ()
    evaluate += ("--output", str(folder), "--run_id", f"evaluation-{digest([made, evaluation])}")
    words = (*plan.run, *(row.run or ()), *seeded, "--output", str(output), "--run_id", folder.name)
    return Cell(
        row,
        seed,
        folder,
        words if pretrained else (),
        evaluate,
        training,
        parse_linear(evaluate),
    )


def settings_of(config: Pretrain | Linear) -> dict[str, Any]:
    """All settings that move a number."""
    found = json.loads(to_json(config))
    free = FREE | {"pretrained_feature_extractor", "pictures", "scatter", "export"}
    return {k: v for k, v in found.items() if k not in free} | {"batch": config.global_batch()}


def digest(settings: Any) -> str:
    """Eight letters that differ where a setting does."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_lines(log: Path) -> list[str]:
    """The lines of a log; none if there is no log."""
    if not log.exists():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]


def reason_in(lines: Sequence[str]) -> str:
    """The last line that is about an error, or else the last one."""
    errors = [line for line in lines if "error" in line.lower() or "COLLAPSED" in line]
    return " ".join((errors or lines or ["no output"])[-1].split()).removeprefix("error: ")


def exit_code(log: Path) -> int | None:
    """What the last line of a log says; None where the process did not come to its end."""
    lines = read_lines(log)
    found = re.match(rf"{EXIT}(-?\d+)", lines[-1]) if lines else None
    return int(found[1]) if found else None
