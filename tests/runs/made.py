"""Runs that were never trained: folders as a training leaves them."""

import csv
import json
from pathlib import Path
from typing import Any

from cl.config import parse_linear, parse_pretrain, to_json
from cl.metrics import COLUMNS

CURVE = [{"step": 10 * (i + 1), "epoch": i, "train/loss": 4.0 - i} for i in range(3)]
ENDS = {"val/probe_top1": 0.5, "val/knn_top1": 0.6, "lr": 0.1, "monitor/embedding_std": 0.9}


def made_run(
    folder: Path, words: str = "", rows: list[dict[str, Any]] | None = None, **result: Any
) -> Path:
    """A pretraining of digits: by default all of its three epochs."""
    folder.mkdir(parents=True)
    config = parse_pretrain(["digits", "resnet6_w8", "--epochs", "3", *words.split()])
    (folder / "config.json").write_text(to_json(config))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows([row | ENDS for row in CURVE] if rows is None else rows)
    if result:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def made_evaluation(folder: Path, words: str = "--eval linear knn", done: int = 2) -> Path:
    """An evaluation with the cards of its first evaluations."""
    folder.mkdir(parents=True)
    of = ["digits", "resnet6_w8", "--pretrained_feature_extractor", str(folder)]
    config = parse_linear([*of, *words.split()])
    (folder / "config.json").write_text(to_json(config))
    names = ["linear", "knn"][:done]
    numbers = {name: {"top1": 0.9, "top1_95": [0.88, 0.92], "top5": 1.0} for name in names}
    (folder / "result.json").write_text(json.dumps({**numbers, "encoder": "0123"}))
    versions = {"torch": "2.0", "python": "3.11"}
    cards = [{"evaluation": n, "numbers": numbers[n], "versions": versions} for n in names]
    (folder / "cards.json").write_text(to_json(config, {"cards": cards}))
    return folder
