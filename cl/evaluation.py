"""Evaluation: from an encoder and a data set to numbers, each with the card of what made it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cl import export, report, runs, summary, trainer
from cl.config import CARDS, Linear
from cl.config.evaluations import about, meant
from cl.data.sets import Source
from cl.eval import _card, _report
from cl.eval._call import check_preconditions, run_evaluation
from cl.eval._embed import embed
from cl.eval._load import load_task
from cl.eval._memory import Memory, plan_memory
from cl.eval._mine import check_minable, write_mined
from cl.eval._python import request
from cl.eval._random import kept_random_states
from cl.eval._restore import Restored, load_encoder
from cl.eval._result import BothParts, EvalResult
from cl.eval._task import Task
from cl.eval._text_task import TextTask
from cl.eval._transform import TextTransform, Transform
from cl.interrupts import Stop, end_as_signalled
from cl.runs import Run

__all__ = ["Transform", "embed", "evaluate", "evaluate_configured", "load_encoder"]
DIFFERENT, LEFT_OUT = 1, 2  # exit codes


@dataclass
class Outcome:
    """What an evaluation came to.

    Args:
        results: by the evaluations' names, of those that could be done.
        errors: of the others.
        cards: protocol cards of the results.
        code: the process's exit code: 0; 1 where `--verify` found a difference; 2 where an
            evaluation was left out; that of the signal that ended it.
    """

    results: dict[str, EvalResult] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    cards: list[dict[str, Any]] = field(default_factory=list)
    code: int = 0


def evaluate(
    encoder: nn.Module | Run | str | Path,
    data: Any,
    eval: str | Callable[..., EvalResult] | Sequence[str | Callable[..., EvalResult]] | None = None,
    *,
    transform: Transform | TextTransform | None = None,
    **flags: Any,
) -> dict[str, EvalResult]:
    """Evaluate an encoder from Python, as `main_linear.py` does: numbers, cards, a folder of a run.

    The process is left as it was: random states, warnings, log levels and signal handlers.

    Args:
        encoder: a module from `(n c h w)` images, or `(n l)` tokens of texts, to `(n d)` features,
            which is left as it is; or a run, its folder or a file of weights, see `load_encoder`.
        data: a `Source`; a data set's name, as on the command line; or what `from_dataset` takes: a
            torch `Dataset`, or a pair of them, for training and for testing; or what `from_texts`
            takes, pairs of texts.
        eval: names of evaluations, `"all"`, and of your own functions or `"MODULE:NAME"`, which
            is also what their results are called; None is what `config=` has, or linear.
        transform: how the samples of a module are prepared, see `load_encoder`; flags change it. By
            default images are prepared as the data set's row says, those of a data set of your own
            at their size, at most 224 px, with ImageNet's mean and deviation.
        flags: of `main_linear.py`, by name: `lr=0.1, k=(5, 20), output="runs"`.

    Returns:
        The results by name, of the evaluations that could be done; why another could not is
        printed.

    Raises:
        ValueError: a flag is wrong, there is nothing to evaluate, or no evaluation could be done.
        RuntimeError: a training ended early, as of too many steps that are not finite.
        KeyboardInterrupt: Ctrl-C; what was done by then is in the folder.
        SystemExit: SIGTERM or another signal that asks it to end, likewise.
    """
    names = (eval,) if isinstance(eval, str) or callable(eval) else eval
    with kept_random_states():
        asked = request(encoder, data, names, transform, flags)
        outcome = evaluate_configured(asked.config, asked.source, asked.restored)
    end_as_signalled(outcome.code, "what was evaluated by then is in the folder")
    if outcome.code > LEFT_OUT:
        raise RuntimeError(f"the evaluation ended early; exit code {outcome.code} says how")
    if outcome.errors and not outcome.results:
        raise next(iter(outcome.errors.values()))
    return outcome.results


def evaluate_configured(
    config: Linear, source: Source | None = None, restored: Restored | None = None
) -> Outcome:
    """Evaluate an encoder as configured; each evaluation stands alone.

    One that cannot be done is reported, and the others are done, and written as they come.

    Args:
        config: as checked.
        source: the data set; None loads the configured one.
        restored: the encoder; None restores the configured one.

    Raises:
        ValueError: there is nothing to evaluate: no encoder, no data, no folder.
    """
    with trainer.setup(config):
        if config.export:
            export.check_packages()
        earlier = _card.read_cards(cards_file(config.verify)) if config.verify else []
        task = load_task(config, source, restored)
        memory = None if config.mine else plan_memory(task)
        outcome = Outcome() if config.mine else check_each(task, memory)
        doable = [name for name in meant(config.eval) if name not in outcome.errors]
        if not (doable or config.export):
            print_failures(outcome)
            return replace(outcome, code=LEFT_OUT)
        if config.mine:
            check_minable(task)
        task.make_folder()
        if not runs.other_rank():
            title = f"evaluation {task.folder.name}"
            summary.show(title, _report.summary_rows(task, memory), trainer.console)
        device = trainer.start_processes(task.options, config.timeout)
        if config.mine is not None and isinstance(task, TextTask):
            with runs.withdrawn_if_refused(task.folder), runs.hold(task.folder):
                write_mined(task, device)
            return outcome
        loggers = trainer.make_loggers(config, task.folder, task.checkpoint)
        print_failures(outcome)
        with trainer.closed_by_error(loggers), runs.hold(task.folder):
            features = task.features(trainer.console) if doable and task.of_features else []
            trainer.say("")
            evaluate_each(task, features, device, loggers, outcome)
            if not (outcome.code or runs.other_rank()):
                finish(task, features, outcome, earlier, loggers)
            if not runs.other_rank():
                task.forget_features()
        report.after_run(config, task.folder)
    return outcome


def evaluate_transfer(configs: Sequence[Linear]) -> int:
    """Evaluate on one data set after the other, and print a table with the mean over them.

    Args:
        configs: as checked, one for each data set.

    Returns:
        The exit code: 2 where a data set or an evaluation was left out, that of the signal that
        ended it, else 0.
    """
    results: dict[str, Mapping[str, EvalResult]] = {}
    code = 0
    for config in configs:
        try:
            outcome = evaluate_configured(config)
        except ValueError as error:
            if config.debug:
                raise
            _report.print_failure(config.dataset, error, "DATASET")
            outcome = Outcome(code=LEFT_OUT)
        results[config.dataset] = outcome.results
        code = max(code, outcome.code)
        if outcome.code > LEFT_OUT:
            break
    trainer.console.print(_report.transfer_table(results))
    return code


def check_each(task: Task, memory: Memory | None) -> Outcome:
    """Leave out, before the first evaluation begins, those that cannot be done.

    Args:
        task: what is evaluated; its labels show what is impossible.
        memory: that the evaluations need.
    """
    outcome = Outcome()
    for name in meant(task.config.eval):
        try:
            check_preconditions(name, task)
            if memory is not None:
                memory.check(name)
        except ValueError as error:
            outcome.errors[name] = error
    return outcome


def print_failures(outcome: Outcome) -> None:
    """Print why evaluations cannot be done."""
    for name, error in outcome.errors.items():
        _report.print_failure(name, error)


def evaluate_each(
    task: Task,
    features: BothParts,
    device: torch.device,
    loggers: Sequence[Any],
    outcome: Outcome,
) -> None:
    """Run one evaluation after the other; each is written when it is done.

    Args:
        task: what is evaluated.
        features: of the training and the test part; empty for what learns from images.
        device: this process's.
        loggers: for what is trained.
        outcome: has the errors of those that are left out; the results are added to it.

    Raises:
        RuntimeError: a frozen encoder is another one afterwards.
    """
    first = not runs.other_rank()
    shared = _card.provenance(task) if first else {}
    for name in meant(task.config.eval):
        if name in outcome.errors or not (first or about(name).trains or task.together):
            continue  # one process is enough, but where all of them search
        try:
            result, given = run_evaluation(name, task, features, device, loggers)
        except Stop as stop:
            outcome.code = stop.code
            break
        except Exception as error:  # whatever it is, the others are still to be had
            if task.config.debug:
                raise
            outcome.errors[name] = error
            _report.print_failure(name, error)
            continue
        task.check_frozen()
        outcome.results[name] = result
        if first:
            outcome.cards.append(_card.card(name, result, given, shared))
            _report.print_result(name, result)
            _report.write_results(task, outcome.results, outcome.cards)


def finish(
    task: Task,
    features: BothParts,
    outcome: Outcome,
    earlier: Sequence[Mapping[str, Any]],
    loggers: Sequence[Any],
) -> None:
    """Print where everything is, draw, export and verify, and set the exit code.

    Args:
        task: what is evaluated.
        features: of the training and the test part.
        outcome: of all its evaluations.
        earlier: the cards of `--verify`.
        loggers: are closed.
    """
    config, results = task.config, outcome.results
    _report.print_location(task)
    pictures = _report.plot(task, features[-1], results) if config.pictures and results else []
    if config.export and (results or task.frozen):
        _report.export_encoder(task, results)
    same = _report.verify(earlier, outcome.cards)
    outcome.code = LEFT_OUT if outcome.errors else 0 if same else DIFFERENT
    trainer.close(loggers, outcome.code, _report.all_scalars(results), pictures)


def cards_file(given: str) -> Path:
    """The file of `--verify`: itself, or the one in an evaluation's folder."""
    path = Path(given)
    return path / CARDS if path.is_dir() else path
