"""Runs read from their folders alone: what each was to do, how far it came, what it reached."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from cl.config import signature
from cl.config.evaluations import ALL, meant
from cl.config.schema import did_you_mean
from cl.metrics import read_newest
from cl.runs.files import CARDS, CONFIG, METRICS, MINED, RESULT
from cl.runs.lock import is_running

DEPTH = 2  # a run's folder lies in the folder of runs, or in one of a comparison's in there
MEASURES = {"probe": "val/probe_top1", "knn": "val/knn_top1", "loss/train": "train/loss"}
ROOMS = ("method_options", "loss_options", "eval_options")


@dataclass(frozen=True)
class Listed:
    """A run as its folder tells it.

    Args:
        folder: where it is kept.
        name: the folder's, inside the folder of runs.
        config: the content of its config.json.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]

    @property
    def program(self) -> str:
        return str(self.config["program"])

    @property
    def evaluates(self) -> bool:
        return self.program == "main_linear"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its flag's name; the loss is the one that is computed."""
        found = {k: v for k, v in self.config.items() if k not in ("version", "program", "derived")}
        options = [found.pop(room, {}) for room in ROOMS]
        if not self.evaluates and isinstance(found.get("method"), str):
            found["loss"] = computed_loss(found["method"], str(found.get("loss", "")))
            options = [loss_defaults(found["loss"]), *options]
        for room in options:
            found |= room if isinstance(room, dict) else {}
        return found

    @cached_property
    def newest(self) -> dict[str, float]:
        """The newest number of each column of metrics.csv."""
        return as_numbers(read_newest(self.folder / METRICS))

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of result.json; empty where there is none that can be read."""
        return read_object(self.folder / RESULT)

    @cached_property
    def cards(self) -> list[dict[str, Any]]:
        """The protocol cards of an evaluation."""
        derived = read_object(self.folder / CARDS).get("derived")
        return derived.get("cards", []) if isinstance(derived, dict) else []

    @cached_property
    def numbers(self) -> dict[str, float]:
        """What was reached: `probe`, `knn` and `linear` top-1 and whatever else was measured.

        `linear` and `knn` are the frozen encoder's, `untrained` the linear one before training.
        """
        measures = {} if self.evaluates else MEASURES  # its classifier is no online probe
        found = {short: self.newest[k] for short, k in measures.items() if k in self.newest}
        parts = (self.result.get(when) for when in ("untrained", "trained"))
        before, after = (part if isinstance(part, dict) else {} for part in parts)
        found |= as_numbers({"untrained": before.get("linear_top1")})
        found |= as_numbers({k: after.get(f"{k}_top1") for k in ("linear", "knn")})
        if self.evaluates:
            for name, each in self.result.items():
                if isinstance(each, dict):
                    found |= as_numbers({name: each.get("top1", each.get("map"))})
                    found |= {f"{name}/{k}": v for k, v in as_numbers(each).items()}
        return found

    @cached_property
    def state(self) -> str:
        """`running`, `done` or `unfinished`."""
        if is_running(self.folder):
            return "running"
        done = self.evaluated if self.evaluates else self.trained
        return "done" if done else "unfinished"

    @property
    def evaluated(self) -> bool:
        """Whether each evaluation has its card, or negatives were mined as was asked."""
        if self.config.get("mine"):
            return MINED in self.result
        have = {card.get("evaluation") for card in self.cards if isinstance(card, dict)}
        asked = self.config.get("eval")
        words = {*map(str, asked)} if isinstance(asked, list) else set()
        features = {*meant([ALL])} if ALL in words else set()
        return bool(have) and have >= (words - {ALL}) | features

    @property
    def trained(self) -> bool:
        """Whether all epochs or steps were done, and what was to be measured afterwards."""
        if "untrained" in self.result and "trained" not in self.result:
            return False
        wanted = as_numbers({name: self.config.get(name) for name in ("epochs", "max_steps")})
        if "max_steps" in wanted and self.newest.get("step", 0) >= wanted["max_steps"]:
            return True
        ended = "monitor/embedding_std" in self.newest  # which only an epoch's end writes
        return ended and self.epochs_done >= wanted.get("epochs", 1)

    @property
    def epochs_done(self) -> int:
        """Epochs that have a row in metrics.csv."""
        return int(self.newest.get("epoch", -1)) + 1

    @property
    def epochs_shown(self) -> str:
        """The epoch in which it ends, counted from 1: the last one, or that of `max_steps`."""
        derived = self.config.get("derived")
        given = (self.config, derived if isinstance(derived, dict) else {})
        names = ("epochs", "max_steps"), ("steps_per_epoch",)  # which earlier runs did not keep
        entries = {k: of.get(k) for of, keys in zip(given, names, strict=True) for k in keys}
        known = {k: x for k, x in as_numbers(entries).items() if math.isfinite(x)}
        if "max_steps" not in known:
            return f"{known['epochs']:g}" if "epochs" in known else "?"
        if self.trained:
            return f"{self.epochs_done}"
        if not known.get("steps_per_epoch"):
            return "?"
        needed = math.ceil(known["max_steps"] / known["steps_per_epoch"])
        return f"{min(needed, known.get('epochs', needed)):g}"

    @cached_property
    def started(self) -> datetime:
        """When its config.json was written."""
        return datetime.fromtimestamp((self.folder / CONFIG).stat().st_mtime).astimezone()

    @cached_property
    def values(self) -> dict[str, Any]:
        """All that it can be chosen and sorted by: settings, numbers, name and state."""
        facts = {"run": self.name, "state": self.state, "program": self.program}
        facts |= {"started": self.started.isoformat(timespec="seconds")}
        return {**self.newest, **self.numbers, **self.settings, **facts}

    def to_json(self) -> dict[str, Any]:
        """All of it as data."""
        facts = {k: self.values[k] for k in ("run", "state", "program", "started")}
        more = {"numbers": self.numbers, "settings": self.settings}
        return {**facts, "folder": str(self.folder), "epochs_done": self.epochs_done, **more}


def computed_loss(method: str, loss: str) -> str:
    """The loss that a method computes, its own name where it has one of its own."""
    try:
        return signature.loss_of(method, loss) or method
    except ValueError:  # a file of the user's own that is not there any more
        return loss


def loss_defaults(loss: str) -> dict[str, Any]:
    """The settings of a loss that config.json leaves out, which has those that were given."""
    try:
        return {name: option.default for name, option in signature.loss(loss).options.items()}
    except ValueError:
        return {}


def as_numbers(entries: Mapping[str, Any]) -> dict[str, float]:
    """Those entries that are numbers, NaN included."""
    found = {}
    for name, value in entries.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_run(folder: Path, name: str | None = None) -> Listed:
    """The run in a folder.

    Args:
        folder: the run's.
        name: what it is called; by default as its folder.

    Raises:
        ValueError: it is no run.
    """
    config = read_object(folder / CONFIG)
    if "program" not in config:
        missing = "is not there" if not folder.exists() else f"has no {CONFIG} of a run"
        raise ValueError(f"{folder} is no run: it {missing}")
    return Listed(folder, name or folder.resolve().name, config)


def find_runs(root: Path) -> list[Listed]:
    """All runs in a folder of runs and in the folders of comparisons there, newest first.

    Raises:
        ValueError: there is no such folder.
    """
    if not root.is_dir():
        raise ValueError(f"--output {root}: there is no such folder")
    return sorted(runs_in(root, root), key=lambda run: (run.started, run.name), reverse=True)


def runs_in(folder: Path, root: Path, depth: int = DEPTH) -> Iterator[Listed]:
    """The runs below a folder; what lies inside of a run is its own."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return  # another user's
    for path in map(Path, entries):
        config = read_object(path / CONFIG)
        if "program" in config:
            yield Listed(path, str(path.relative_to(root)), config)
        elif depth > 1:
            yield from runs_in(path, root, depth - 1)


def one_run(word: str, root: Path) -> Listed:
    """The run that a word names: its folder, or its name in the folder of runs.

    Raises:
        ValueError: there is none.
    """
    for folder in (root / word, Path(word)):
        if (folder / CONFIG).exists():
            inside = root in folder.parents
            return read_run(folder, str(folder.relative_to(root)) if inside else None)
    if Path(word).is_dir():
        return read_run(Path(word))
    known = [run.name for run in find_runs(root)] if root.is_dir() else []
    raise ValueError(f"{word} is no run in {root}{did_you_mean(word, known)}")


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
