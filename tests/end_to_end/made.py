"""What tests of whole runs on texts share: pairs to train on, and what an evaluation measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.nets.made_texts import DOCUMENTS, QUERIES

Run = Callable[..., Path]  # a program, see the fixtures `pretrain` and `linear`


def words_on_pairs(folder: Path, encoder: Path) -> list[str]:
    """A line's first words: a transformer on 32 pairs of different documents, written here.

    Args:
        folder: of the data.
        encoder: the transformer's folder.
    """
    lines = [{"query": q, "positive": d} for q, d in zip(QUERIES, DOCUMENTS, strict=True)]
    (folder / "made.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = ["pairs:made.jsonl", f"hf:{encoder}", "--data_folder", str(folder)]
    return [*given, "--max_length", "10", "12", "--precision", "32"]


def measured(run: Path) -> dict[str, Any]:
    """What the retrieval of an evaluation has found."""
    return json.loads((run / "result.json").read_text())["retrieval"]
