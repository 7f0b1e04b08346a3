"""Evaluation: from a checked configuration to the numbers of an encoder, and what made them."""

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from cl import checkpoints, export, hardware, runs, summary, trainer
from cl.callbacks.saver import Saver, Stop
from cl.config import CARDS, Linear
from cl.config.evaluations import about, meant
from cl.data import sets
from cl.eval import _card, _report, get_evaluation
from cl.eval._restore import restore
from cl.eval._result import EvalResult
from cl.eval._task import Task
from cl.eval._training import Training
from cl.nets.norm import SyncEverywhere
from cl.optim import Optimization

PROGRAM = "main_linear.py"
PRECISION = "32-true"  # of a classifier of features, a layer this small
REST = 30.0  # seconds of a probe that a crash may cost; its epochs often take a tenth of one
DIFFERENT, LEFT_OUT = 1, 2  # exit codes
Part = tuple[Tensor, Tensor]  # features (n d) and labels (n)


def evaluate(config: Linear) -> int:
    """Evaluate an encoder as configured.

    An evaluation that cannot be done is reported; the others are done, and written as they come.

    Args:
        config: as checked.

    Returns:
        The process's exit code: 0; 1 where `--verify` found a difference; 2 where an evaluation was
        left out; that of the signal that ended it.

    Raises:
        ValueError: there is nothing to evaluate: no encoder, no data, no folder.
    """
    with trainer.setup(config):
        return carry_out(config)


def carry_out(config: Linear) -> int:
    """Do all that is to be evaluated, and say it; the exit code back."""
    if config.export:
        export.needed()
    earlier = _card.read(cards_of(config.verify)) if config.verify else []
    task = load(config)
    first = not runs.other_rank()
    if first:
        summary.show(f"evaluation {task.folder.name}", task.table(), trainer.console)

    device = trainer.start_processes(task.options)
    loggers = trainer.make_loggers(config, task.folder, task.checkpoint)
    features = task.features(trainer.console) if task.of_features else []
    say("")
    try:
        results, cards = evaluate_each(task, features, device, loggers)
    except Stop as stop:
        return stop.code
    if not first:
        return 0

    for line in _report.last_lines(task):
        say(line)
    pictures = _report.plot(task, features[1], results) if config.pictures and results else []
    if pictures:
        say(f"{'pictures':12}{', '.join(path.name for path in pictures)}")
    if config.export:
        write_onnx(task, results)
    same = [say_difference(each, cards) for each in earlier]
    left_out = len(results) < len(meant(config.eval))
    code = LEFT_OUT if left_out else 0 if all(same) else DIFFERENT
    trainer.close(loggers, code, _report.all_scalars(results), pictures)
    return code


def load(config: Linear) -> Task:
    """The data set, the encoder with its weights, and the evaluation's folder."""
    source = sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        data_fraction=config.data_fraction,
        skip_corrupt=config.skip_corrupt,
        labeled=True,
        workers=config.num_workers,
        console=None if runs.other_rank() else trainer.console,
    )
    given = config.pretrained_feature_extractor
    file = checkpoints.encoder_file(given) if given else None
    encoder, recipe, origin, match = restore(config, file)
    folder, checkpoint = trainer.run_folder(config)
    runs.keep_skipped(folder, source.skipped)
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if options["precision"] == "64-true":
        encoder.double()  # which Lightning would do, and the weights' sum would differ
    return Task(config, source, encoder, recipe, file, origin, match, folder, checkpoint, options)


def evaluate_each(
    task: Task, features: Sequence[Part], device: torch.device, loggers: Sequence[Any]
) -> tuple[dict[str, EvalResult], list[dict[str, Any]]]:
    """Do one evaluation after the other; each is written when it is done.

    Args:
        task: what is evaluated.
        features: of the training and the test part; empty for what learns from images.
        device: this process's.
        loggers: for what is trained.

    Returns:
        Results by name and protocol cards, of the evaluations that could be done.

    Raises:
        RuntimeError: a frozen encoder is another one afterwards.
    """
    first, results, cards = not runs.other_rank(), dict[str, EvalResult](), list[dict[str, Any]]()
    provenance = task.provenance() if first else {}
    for name in meant(task.config.eval):
        if not (first or about(name).trains):
            continue  # one process is enough
        try:
            result, given = run(name, task, features, device, loggers)
        except Stop:
            raise
        except Exception as error:  # whatever it is, the others are still to be had
            report(name, error, task.config)
            continue
        task.check_frozen()
        if first:
            results[name] = result
            cards.append(_card.card(name, result, given, provenance))
            _report.write(task, results, cards)
            say(_report.line(name, result))
    return results, cards


def run(
    name: str,
    task: Task,
    features: Sequence[Part],
    device: torch.device,
    loggers: Sequence[Any],
) -> tuple[EvalResult, dict[str, Any]]:
    """Do one evaluation.

    Args:
        name: of the evaluation.
        task: what is evaluated.
        features: of the training and the test part; empty for what learns from images.
        device: this process's.
        loggers: for what is trained.

    Returns:
        Its result, and everything its function was given besides data and encoder.
    """
    training = training_of(task, name, device, loggers, of_features=bool(features))
    function = get_evaluation(name, "augmented" if task.config.augment else "")
    given = arguments(function, task.config, training)
    # A Trainer moves batches; what is computed at once is computed on the device.
    parts = features if about(name).trains else [(h.to(device), y.to(device)) for h, y in features]
    with torch.random.fork_rng(devices=[]):  # each starts as if it were alone
        inputs = parts or (task.encoder, task.crops())
        result = function(*inputs, task.classes, **given)
    return result, given | ({"training": training.settings} if "training" in given else {})


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


def training_of(
    task: Task, name: str, device: torch.device, loggers: Sequence[Any], *, of_features: bool
) -> Training:
    """How an evaluation trains: as the options say, with this run's logs and checkpoints."""
    config = task.config
    options = task.options | ({"precision": PRECISION} if of_features else {})
    saver, plugins = Saver(task.folder, apart=REST), []
    if not of_features:
        saver = Saver(task.folder, None if config.augment else task.about | {"method": name})
    if not of_features and config.processes > 1:
        plugins = [SyncEverywhere(options["accelerator"] == "gpu")]

    def plan(lr: float, weight_decay: float) -> Optimization:
        return trainer.optimization(replace(config, lr=lr, weight_decay=weight_decay))

    def fit(module: pl.LightningModule, data: pl.LightningDataModule) -> pl.Trainer:
        at = task.folder, task.checkpoint
        made = trainer.make_trainer(config, *at, [saver], options, plugins, list(loggers))
        code = trainer.fit(made, module, data, task.checkpoint, PROGRAM, task.folder, more=True)
        if code:
            raise Stop(f"--eval {name} ended early", code)
        return made

    length = {k: getattr(config, k) for k in ("epochs", "max_steps", "clip_grad_norm")}
    hardware_of = {k: options[k] for k in ("accelerator", "precision")}
    return Training(
        lr=config.lr,
        weight_decay=config.weight_decay,
        epochs=config.epochs,
        batch_size=config.global_batch(),
        device=device,
        plan=plan,
        describe=lambda o: _card.training(config, o, options),
        settings=asdict(plan(config.lr, config.weight_decay))
        | {**length, **hardware_of, "batch": config.global_batch()},
        fit=fit,
    )


def report(name: str, error: Exception, config: Linear) -> None:
    """Say why an evaluation could not be done; what is no user's error with its traceback."""
    if config.debug:
        raise error
    if runs.other_rank():
        return
    if not isinstance(error, ValueError):
        traceback.print_exception(error)
    said = " ".join(str(error).split())
    where = "" if said.startswith("--") else f"--eval {name}: "
    sys.stderr.write(f"error: {where}{said}\n")


def write_onnx(task: Task, results: Mapping[str, EvalResult]) -> None:
    """Write `encoder.onnx`: the encoder that was trained, or the one that was evaluated."""
    if not (results or task.frozen):
        return
    trained = [each.encoder for each in results.values() if each.encoder is not None]
    file = task.folder / "encoder.onnx"
    apart = export.onnx((*trained, task.encoder)[0], task.recipe.size, file)
    say(f"{'exported':12}{file}, features within {apart:.1g} of the largest of the encoder's")


def say_difference(earlier: Mapping[str, Any], cards: Sequence[Mapping[str, Any]]) -> bool:
    """Say where a card that was computed again differs from the earlier one; True if nowhere."""
    same, lines = _report.compare(earlier, cards)
    for line in lines:
        say(line)
    return same


def cards_of(given: str) -> Path:
    """The file of `--verify`: itself, or the one in an evaluation's folder."""
    path = Path(given)
    return path / CARDS if path.is_dir() else path


def say(text: str) -> None:
    """A line for the user, from the first process."""
    if not runs.other_rank():
        trainer.console.print(text, markup=False)
