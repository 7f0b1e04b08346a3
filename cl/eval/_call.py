"""Calling an evaluation: with what it takes, and nothing else."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from math import isfinite
from typing import Any

import torch

from cl import hardware
from cl.config import Linear
from cl.config.evaluations import about, plugins
from cl.eval import get_evaluation
from cl.eval._result import BothParts, EvalResult
from cl.eval._task import Task, labels_of
from cl.eval._training import Training, training_of


def run_evaluation(
    name: str,
    task: Task,
    features: BothParts,
    device: torch.device,
    loggers: Sequence[Any],
) -> tuple[EvalResult, dict[str, Any]]:
    """Run one evaluation.

    Args:
        name: of the evaluation.
        task: what is evaluated.
        features: of the training and the test part; empty for what learns from images.
        device: this process's.
        loggers: for what is trained.

    Raises:
        ValueError: it cannot be done, or a number is NaN or infinite.

    Returns:
        Its result, and for its card everything that its function was given: the arguments, all
        settings of the training, and how the images were prepared.
    """
    function = get_evaluation(name, task.function_of(name))
    training = training_of(task, name, device, loggers)
    given = arguments(function, task.config, training)
    parts = [task.private(part) for part in features] if plugins([name]) else features
    if not about(name).trains:  # a Trainer moves batches; what is computed at once is moved here
        parts = [(h.to(device), y.to(device)) for h, y in parts]
    with torch.random.fork_rng(devices=[]):  # each starts as if it were alone
        result = function(*task.inputs(name, parts), **given)
    check_numbers(result)
    if "training" in given:
        lr = {"lr": None} if "lr" in result.chosen else {}  # which was not given
        given["training"] = training.settings | lr
    return result, given | {"images": task.preparation}


def check_numbers(result: EvalResult) -> None:
    """Check an evaluation's numbers, one of the user's own included.

    Raises:
        ValueError: one is NaN or infinite.
    """
    broken = [k for k, v in result.numbers.items() if isinstance(v, float) and not isfinite(v)]
    if broken:
        raise ValueError(f"its {', '.join(broken)} came out as NaN or infinite")


def check_preconditions(name: str, task: Task) -> None:
    """Check before anything is computed that an evaluation can be done, by labels and memory.

    Args:
        name: of the evaluation; a function `precondition` beside it checks what it needs besides
            labeled images of two classes: `(train, test, classes)`, labels of both parts, with
            those of the evaluation's keyword-only arguments that it asks for.
        task: what is evaluated.

    Raises:
        ValueError: with the reason.
    """
    task.check_parts(name)
    if not task.of_features:
        needed = task.config.devices_per_node * task.crops().shared_memory
        hardware.check_shared_memory(needed)
    if task.together:
        return  # `precondition` is of the labels of images
    labels = [labels_of(images) for images in (task.source.train, task.source.val)]
    function = get_evaluation(name)
    check = getattr(import_module(function.__module__), "precondition", None)
    if check is not None and not task.config.augment:
        training = training_of(task, name, torch.device("cpu"), [])
        given = arguments(function, task.config, training)
        asked = inspect.signature(check).parameters
        check(*labels, task.classes, **{k: v for k, v in given.items() if k in asked})


def arguments(
    function: Callable[..., EvalResult], config: Linear, training: Training
) -> dict[str, Any]:
    """The keyword-only arguments of an evaluation: `training`, settings by name, or defaults."""
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            value = training if name == "training" else getattr(config, name, None)
            given[name] = parameter.default if value is None else value
    return given
