"""Calling an evaluation: with what it takes, and nothing else."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from cl.config import Linear
from cl.config.evaluations import about
from cl.data.sets import TextPairs
from cl.eval import get_evaluation
from cl.eval._result import BothParts, EvalResult, check_classes
from cl.eval._task import Task
from cl.eval._text_task import TextTask
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
    function = get_evaluation(name, "" if about(name).scored else which_function(task))
    training = training_of(task, name, device, loggers)
    given = arguments(function, task.config, training)
    # A Trainer moves batches; what is computed at once is computed on the device.
    parts = features if about(name).trains else [(h.to(device), y.to(device)) for h, y in features]
    with torch.random.fork_rng(devices=[]):  # each starts as if it were alone
        if isinstance(task, TextTask):
            inputs = inputs_of_texts(name, task.source.val, [h for h, _ in parts])
        else:
            inputs = (*(parts or (task.encoder, task.crops())), task.classes)
        result = function(*inputs, **given)
    check_numbers(result)
    if "training" in given:
        lr = {"lr": None} if "lr" in result.chosen else {}  # which was not given
        given["training"] = training.settings | lr
    return result, given | {"images": task.preparation}


def inputs_of_texts(name: str, pairs: TextPairs, features: Sequence[Tensor]) -> tuple[Any, ...]:
    """What an evaluation of texts takes: features of queries and documents, and what is known."""
    queries, documents = features
    if not about(name).scored:
        return queries, documents, torch.from_numpy(pairs.judgments).to(queries.device)
    at = torch.from_numpy(pairs.positive).to(queries.device)
    return queries, documents[at], torch.tensor(pairs.scores, device=queries.device)


def which_function(task: Task) -> str:
    """The function of an evaluation's file that is used; empty for the one of the file's name."""
    return "augmented" if task.config.augment else "of_texts" if task.of_texts else ""


def check_numbers(result: EvalResult) -> None:
    """Check an evaluation's numbers, one of the user's own included.

    Raises:
        ValueError: one is NaN or infinite.
    """
    broken = [k for k, v in result.numbers.items() if isinstance(v, float) and not isfinite(v)]
    if broken:
        raise ValueError(f"its {', '.join(broken)} came out as NaN or infinite")


def check_preconditions(name: str, task: Task) -> None:
    """Check by the labels alone, before anything is computed, that an evaluation can be done.

    Args:
        name: of the evaluation; a function `precondition` beside it checks what it needs besides
            labeled images of two classes: `(train, test, classes)`, labels of both parts, with
            those of the evaluation's keyword-only arguments that it asks for.
        task: what is evaluated.

    Raises:
        ValueError: with the reason.
    """
    if isinstance(task, TextTask):
        pairs: TextPairs = task.source.val
        if about(name).scored and pairs.scores is None:
            raise ValueError(f"DATASET {task.source.name} has no scores; scored:FILE has")
        if not about(name).scored and not (pairs.judgments[:, 2] > 0).any():
            raise ValueError(f"no query of DATASET {task.source.name} has a judged document")
        return
    parts = {"training": task.source.train, "test": task.source.val}
    labels = [torch.tensor(images.labels) for images in parts.values()]
    for kind, known in zip(parts, labels, strict=True):
        if not (known >= 0).any():
            raise ValueError(f"no image of the {kind} part has a label")
    check_classes(task.classes)
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
