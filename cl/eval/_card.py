"""Protocol cards: every reported number with all that made it, and a sum over both."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl.eval._result import EvalResult
from cl.eval._task import Task
from cl.versions import versions

NEAR = 1e-3  # a tenth of a point: what other hardware may move a number by
LOOSE = (
    "sha256",
    "versions",
    "how.iterations",
    "how.accelerator",
    "given.training.accelerator",
)  # what other hardware may have otherwise


def card(
    evaluation: str, result: EvalResult, given: Mapping[str, Any], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The protocol card of an evaluation.

    Args:
        evaluation: its name.
        result: its numbers, and what it says itself of how it made them.
        given: everything that its function was called with besides data and encoder.
        provenance: encoder, data and preprocessing, which all evaluations of a run share.
    """
    content = {
        "evaluation": evaluation,
        "numbers": result.numbers,
        "chosen": result.chosen,
        "how": result.how,
        "given": given,
        **provenance,
        "versions": versions(),
    }
    content = json.loads(json.dumps(content, default=str))  # as it will be read: a tuple is a list
    return {**content, "sha256": card_checksum(content)}


def provenance(task: Task) -> dict[str, Any]:
    """What all cards of this run share: data, split, encoder, preprocessing, seed."""
    return {
        "dataset": task.source.name,
        "parts": task.parts,
        "split": task.source.protocol(),
        "encoder": task.built | {"sha256": task.fingerprint},
        "layer": " ".join(task.config.layer) or "the encoder's output",
        "transform": task.transform,
        "seed": task.config.seed,
    }


def card_checksum(content: Mapping[str, Any]) -> str:
    """Over a card without its sum, as JSON with sorted keys."""
    plain = {k: v for k, v in content.items() if k != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_cards(file: Path) -> list[dict[str, Any]]:
    """The cards that stand under `derived` beside a run's configuration.

    Raises:
        ValueError: no cards, or one whose sum is not that of its content.
    """
    try:
        cards = json.loads(file.read_text(encoding="utf-8"))["derived"]["cards"]
        changed = [each["evaluation"] for each in cards if each["sha256"] != card_checksum(each)]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"--verify {file}: no protocol cards: {error!r}") from None
    if changed:
        raise ValueError(f"--verify {file}: not as it was written: {', '.join(changed)}")
    return cards


def diff_cards(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where a card that was computed again differs: any setting, or a result by more than `NEAR`.

    A card of before more was written on it is compared in what it has.
    """
    return [
        f"{name}: {old} then, {new} now"
        for name, old, new in paired_entries(before, shared_entries(now, before), ())
        if not any(name == loose or name.startswith(f"{loose}.") for loose in LOOSE)
        and not agree(name, old, new)
    ]


def shared_entries(now: Any, before: Any) -> Any:
    """What stands in both documents, as it is now.

    >>> shared_entries({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 0}})
    {'a': {'b': 1}}
    """
    if not (isinstance(now, dict) and isinstance(before, dict)):
        return now
    return {k: shared_entries(v, before[k]) for k, v in now.items() if k in before}


def paired_entries(before: Any, now: Any, path: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    """All places of two documents, by name, with what stands there in each."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [x for k in keys for x in paired_entries(before.get(k), now.get(k), (*path, k))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        each = enumerate(zip(before, now, strict=True))
        return [x for i, (a, b) in each for x in paired_entries(a, b, (*path, str(i)))]
    return [(".".join(path), before, now)]


def agree(name: str, old: Any, new: Any) -> bool:
    """Whether two entries say the same; what was measured may be moved by other hardware.

    >>> agree("numbers.top1", 0.9, 0.9004), agree("how.weight_decay", 1e-4, 5e-4)
    (True, False)
    """
    if isinstance(old, float) and isinstance(new, float | int):
        measured = name.startswith("numbers.") or ".held_out_" in name
        return math.isclose(old, new, rel_tol=0.0 if measured else 1e-9, abs_tol=NEAR * measured)
    return old == new
