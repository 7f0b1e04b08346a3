"""Protocol cards: every reported number with all that made it, and a sum over both."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cl.eval.judge import Found

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "numpy", "scikit-learn", "numba")
NEAR = 1e-3  # a tenth of a point: what other hardware may move a number by


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def card(evaluation: str, found: Found, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """The card of an evaluation.

    Args:
        evaluation: its name.
        found: its numbers and settings.
        made_by: encoder, data, transform, seed and the like, which all evaluations of a run share.
    """
    content = {
        "evaluation": evaluation,
        "numbers": found.numbers,
        "chosen": found.chosen,
        "how": found.how,
        **made_by,
        "versions": versions(),
    }
    return {**content, "sha256": sum_of(content)}


def sum_of(content: Mapping[str, Any]) -> str:
    """Over a card without its sum, as JSON with sorted keys."""
    plain = {k: v for k, v in content.items() if k != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read(file: Path) -> list[dict[str, Any]]:
    """The cards that stand under `derived` beside a run's configuration.

    Raises:
        ValueError: no cards, or one whose sum is not that of its content.
    """
    try:
        cards = json.loads(file.read_text(encoding="utf-8"))["derived"]["cards"]
        changed = [each["evaluation"] for each in cards if each["sha256"] != sum_of(each)]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"--verify {file}: no protocol cards: {error!r}") from None
    if changed:
        raise ValueError(f"--verify {file}: not as it was written: {', '.join(changed)}")
    return cards


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a card computed again says otherwise: any word, or a number by more than `NEAR`."""
    return [
        f"{name}: {old} then, {new} now"
        for name, old, new in paired(before, now, ())
        if name.partition(".")[0] not in ("sha256", "versions") and not near(old, new)
    ]


def paired(before: Any, now: Any, path: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    """All places of two documents, by name, with what stands there in each."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [x for k in keys for x in paired(before.get(k), now.get(k), (*path, k))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        each = enumerate(zip(before, now, strict=True))
        return [x for i, (a, b) in each for x in paired(a, b, (*path, str(i)))]
    return [(".".join(path), before, now)]


def near(old: Any, new: Any) -> bool:
    """Whether two entries say the same."""
    if isinstance(old, float) and isinstance(new, float | int):
        return abs(old - new) <= NEAR
    return old == new
