"""A card is the same again if every setting is, and every result within what hardware moves."""

import copy
from dataclasses import fields
from typing import Any

import pytest

from cl.config import parse_linear
from cl.eval import _card
from cl.eval._result import EvalResult
from cl.eval._training import settings_of_training
from cl.optim import Optimization

RESULT = EvalResult(
    {"top1": 0.9, "top1_95": [0.88, 0.92], "per_class": [0.9, None]},
    chosen={"lr": 0.1, "weight_decay": 1e-4},
    how={
        "weight_decay": 1e-4,
        "temperature": 0.07,
        "k": 20,
        "iterations": 71,
        "grid": [{"lr": 0.1, "held_out_top1": 0.8}],
    },
)
RUN = ["digits", "resnet6_w8", "--pretrained_feature_extractor", "run"]
MADE_BY = {"dataset": "digits", "seed": 0}
GIVEN = {"k": (20, 5), "seed": 0}


def changed(*path: Any, value: Any) -> list[str]:
    """The differences after a change at one place."""
    before = _card.card("any", RESULT, GIVEN, MADE_BY)
    now: Any = copy.deepcopy(before)
    at = now
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return _card.diff_cards(before, now)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("how", "weight_decay"), 5e-4),
        (("how", "temperature"), 0.0701),
        (("how", "k"), 21),
        (("given", "k", 0), 21),
        (("how", "grid", 0, "lr"), 0.1001),
        (("chosen", "weight_decay"), 0.0),
        (("seed",), 1),
        (("numbers", "top1"), 0.902),
        (("numbers", "per_class", 1), 0.9),
        (("how", "grid", 0, "held_out_top1"), 0.802),
    ],
)
def test_another_setting_or_result_is_reported(path: tuple[Any, ...], value: float) -> None:
    (said,) = changed(*path, value=value)
    assert said.startswith(".".join(map(str, path)))
    assert said.endswith(f"{value} now")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("how", "temperature"), 0.07 * (1 + 1e-12)),
        (("how", "iterations"), 72),
        (("numbers", "top1"), 0.9009),
        (("numbers", "top1_95", 0), 0.8801),
        (("how", "grid", 0, "held_out_top1"), 0.8009),
        (("versions", "torch"), "3.0"),
    ],
)
def test_rounding_and_other_hardware_are_not(path: tuple[Any, ...], value: float) -> None:
    assert changed(*path, value=value) == []


def test_a_training_is_all_of_its_settings() -> None:
    """Every field of the optimization stands on the card, also one that is added later."""
    words = ["--max_steps", "7", "--clip_grad_norm", "2", "--batch_size", "9"]
    o = Optimization(scheduler="step", lr_decay_epochs=(2, 3), lr=0.5)
    options = {"accelerator": "cpu", "precision": "32-true", "devices": 1}
    found = settings_of_training(parse_linear([*RUN, *words]), o, options)
    assert {f.name for f in fields(Optimization)} <= found.keys()
    expected = {"lr": 0.5, "lr_decay_epochs": [2, 3], "momentum": 0.9, "scheduler": "step"}
    expected |= {"epochs": 100, "max_steps": 7, "clip_grad_norm": 2.0, "batch": 9}
    expected |= {"accelerator": "cpu", "precision": "32-true"}
    assert found | expected == found


def test_a_card_of_before_is_compared_in_what_it_has() -> None:
    now = _card.card("any", RESULT, GIVEN, MADE_BY)
    before = {key: value for key, value in now.items() if key != "given"}
    before["how"] = {key: value for key, value in now["how"].items() if key != "k"}
    assert _card.diff_cards(before, now) == []
    assert _card.diff_cards(now, before) != []
