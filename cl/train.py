"""Pretraining: data, encoder, method, trainer, fit, report."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from cl import build, checkpoints, hardware, pictures, report, runs, summary, trainer
from cl.callbacks.ending import Ending
from cl.callbacks.geometry import Geometry
from cl.callbacks.labeled import Labeled
from cl.callbacks.retrieval import CrossRetrieval, Graded, Retrieval
from cl.callbacks.saver import Saver, Saving
from cl.callbacks.watch import Watch
from cl.config import Pretrain, check_environment, configure
from cl.config.datasets import DECODED, READING
from cl.config.handed_on import EVALUATIONS
from cl.data.augment.recipe import Recipe
from cl.data.image_text_data import ImageTextData
from cl.data.loaders.sampler import checksum
from cl.data.module import ContrastiveData
from cl.data.sets import as_pair, check_items, from_texts, holds_texts
from cl.data.source_data import SourceData
from cl.data.text_data import TextData
from cl.eval._baseline import Baseline
from cl.eval._random import kept_random_states
from cl.interrupts import end_as_signalled
from cl.methods._base import Method
from cl.nets import lora
from cl.nets.compiled import check_compiler, compiled_training
from cl.nets.norm import SyncEverywhere
from cl.runs import Run
from cl.runs.card import carded

PROGRAM = "main_contrastive.py"


def pretrain(
    encoder: str | nn.Module,
    data: Any,
    method: Any = None,
    loss: Any = None,
    *,
    callbacks: Sequence[Callback] = (),
    **flags: Any,
) -> Run:
    """Pretrain an encoder from Python, as `main_contrastive.py` does: a folder with all of a run.

    The process is left as it was: random states, environment, warnings, log levels and signal
    handlers. Several runs may follow each other, also in a notebook.

    Args:
        encoder: a name as on the command line, or any module from a batch of views `(n c h w)` to
            features `(n d)`, which is trained in place; of texts from token numbers `(n l)`, -1
            after the end, and with a `tokenizer`, see `cl.data.tokens.tokenizer_of`.
        data: a data set's name; a torch `Dataset` of images, with labels or without, or a pair
            (training, validation) of them; a list or data set of pairs of texts, or a pair of
            these, see `cl.data.sets.from_texts`; or a `DataLoader` that makes the views, or a pair
            of them, see `cl.data.module.GivenData`.
        method: a name, or a subclass of `cl.methods.Method`; None is that of `config=`, or simclr.
        loss: a name, or a function of embeddings `(v n d)`, ids and rows; None is that of
            `config=`, or the method's own.
        callbacks: of Lightning, besides those of a run; a checkpoint keeps their states, which must
            be of tensors, numbers and text.
        flags: the flags of the command line by name, also the method's and the loss's, as in
            `epochs=20, temperature=0.5, output="runs"`.

    Returns:
        The run. One that ended early says so by its `code`.

    Raises:
        ValueError: a flag, the data or the encoder are not what they should be, a sentence each.
        KeyboardInterrupt: Ctrl-C, after the step in progress was saved.
        SystemExit: SIGTERM or another signal that asks it to end, likewise; its code is 128 and the
            signal's number.

    Example:
        >>> import cl
        >>> run = cl.pretrain("resnet6_w16", "digits", epochs=20)  # doctest: +SKIP
        >>> run.history[-1]["val/probe_top1"]  # doctest: +SKIP
        0.97
    """
    if not isinstance(data, str) and (misplaced := [f for f in (*READING, *DECODED) if f in flags]):
        raise ValueError(f"{', '.join(misplaced)} cannot be used with data that are no name")
    data = as_pair(data)
    check_items(data)
    data = from_texts(data) if holds_texts(data) else data
    chosen = {name: x for name, x in {"method": method, "loss": loss}.items() if x is not None}
    config = configure(Pretrain, {"encoder": encoder, "dataset": data, **chosen, **flags})
    if config.seeds:
        raise ValueError("seeds is of the command line: call pretrain once for each, with its seed")
    check_environment(config)
    with kept_random_states():
        run = train(config, callbacks)
    end_as_signalled(run.code, f"{run.folder} holds the run as far as it came")
    return run


def train(config: Pretrain, callbacks: Sequence[Callback] = ()) -> Run:
    """Pretrain as configured.

    Args:
        config: as checked.
        callbacks: of the caller's own.

    Returns:
        The run; its `code` is the exit code of the process.

    Raises:
        ValueError: the data, the encoder or the folder are not what they should be.
    """
    with trainer.setup(config):
        config = going_on(config)
        source = build.load_source(config)
        config = build.complete(config, source)
        encoder, built = build.build_encoder(config)
        text_encoder = build.build_text_encoder(config)
        config = build.with_known_lengths(config, text_encoder or encoder)
        config = build.with_known_prompts(config, source, encoder)
        data = build.build_data(config, source, text_encoder or encoder)
        run = Run(config.runs_folder, encoder)
        if config.show_views:
            pictures.plot_views(data, Path(config.show_views))
            trainer.say(f"views of {data.describe()}: {config.show_views}")
            return run
        classes = build.count_classes(data)
        method = build.build_method(config, encoder, classes, data, text_encoder)
        options = hardware.trainer_options(
            config.gpus, config.devices_per_node, config.precision, config.nodes
        )
        if config.dry_run:
            rows = summary.start_table(config, data, method, encoder, options)
            summary.show("dry run", rows, trainer.console)
            moving = method.optimization, method.schedules
            steps = summary.steps_per_epoch(config, data)
            summary.plot_schedules(config, *moving, steps, trainer.console)
            return run
        if config.compile:
            check_compiler(hardware.torch_device(options))
        return fit_run(config, data, method, options, built, callbacks)


def going_on(config: Pretrain) -> Pretrain:
    """The same run continued, where it is to go on by itself and has a checkpoint."""
    if config.resume_training_from or not (config.auto_resume or runs.started_again()):
        return config
    folder = config.runs_folder / runs.new_id(config.run_id)
    if not any((folder / name).exists() for name in (checkpoints.LAST, checkpoints.PREVIOUS)):
        return config
    trainer.say(f"going on with {folder}")
    return trainer.settings_as_before(replace(config, resume_training_from=str(folder)), folder)


def fit_run(
    config: Pretrain,
    data: build.Data,
    method: Method,
    options: dict[str, Any],
    built: dict[str, Any],
    more: Sequence[Callback] = (),
) -> Run:
    """Train, in a folder of the run's own.

    Args:
        config: of the run.
        data: what is trained on.
        method: what is trained.
        options: of the Trainer, about the hardware.
        built: what the weights it starts from say of how the encoder is built.
        more: callbacks of the caller's own.
    """
    recipes = data.recipes if isinstance(data, ContrastiveData | ImageTextData) else []
    steps = summary.steps_per_epoch(config, data)
    epochs = summary.planned(config, steps) / steps
    derived: dict[str, Any] = {
        "warmup_epochs": config.resolved_warmup_epochs(epochs),
        **summary.rates_of_layers(config, method.encoder),
    }
    if isinstance(data, SourceData):  # of a loader of the caller's own there is less to say
        derived |= known_at_start(config, data, method, recipes) | {"steps_per_epoch": steps}
    space = summary.space_needed(config, method)
    space.check()
    if isinstance(data, ContrastiveData | ImageTextData):
        hardware.check_shared_memory(config.devices_per_node * data.shared_memory)
    rows = summary.start_table(config, data, method, method.encoder, options)
    folder, checkpoint = trainer.run_folder(config, derived)
    if not is_at_its_end(checkpoint, summary.planned(config, steps)):
        summary.show_start(folder, rows, space, trainer.console)

    about = build.encoder_metadata(config, recipes) | built
    if config.max_steps == 0:
        if not runs.other_rank():
            for name, module in method.saved.items():
                checkpoints.save_encoder(module, folder / name, about)
        trainer.say(f"{folder / checkpoints.ENCODER} has the encoder as it is initialized")
        return Run(folder, lora.without_updates(method.evaluated).eval(), method)
    callbacks = callbacks_of(config, data, options, Saver(folder, about, saving_of(config)))
    if isinstance(data, ContrastiveData):
        runs.keep_skipped(folder, data.source.skipped)
        if config.baseline and build.is_watched(data):
            measure, resumed = build.measurement(data, options), checkpoint is not None
            callbacks.append(Baseline(folder / runs.RESULT, measure, resumed=resumed))
    on_gpu, parallel = options["accelerator"] == "gpu", config.processes > 1
    plugins = [SyncEverywhere(on_gpu)] if config.sync_batchnorm and parallel else []
    made = trainer.make_trainer(config, folder, checkpoint, [*callbacks, *more], options, plugins)

    program = None if build.brings_own(config) else PROGRAM
    quicker = compiled_training(method.embedders) if config.compile else nullcontext()
    with trainer.closed_by_error(made.loggers):
        with runs.hold(folder), carded(folder, str(rows["devices"])) as card, quicker:
            code = trainer.fit(made, method, data, checkpoint, program, folder, keep_log=True)
            card["code"] = code
        run = Run(folder, lora.without_updates(method.evaluated).eval(), method, code)
        conclude(config, run, data, made, program)
    method.trainer = data.trainer = None  # whose loaders keep their worker processes
    return run


def is_at_its_end(checkpoint: Path | None, steps: int) -> bool:
    """Whether nothing is left to train of so many steps; others than the first process do not look.

    Args:
        checkpoint: that the run goes on from.
        steps: of the whole run.
    """
    if checkpoint is None or runs.other_rank():
        return False
    return checkpoints.step_in(checkpoint) == steps and checkpoints.is_whole(checkpoint)


def saving_of(config: Pretrain) -> Saving:
    """When a run is saved."""
    return Saving(
        every=config.checkpoint_every,
        unit=config.checkpoint_unit,
        best=config.keep_best,
        epochs=config.keep_epochs,
        minutes=config.max_time,
    )


def callbacks_of(
    config: Pretrain, data: build.Data, options: dict[str, Any], saver: Saver
) -> list[Callback]:
    """What looks at a run besides the measurement before and after it, and what saves it."""
    callbacks: list[Callback] = [Geometry(config.on_collapse), saver, *searches(data)]
    if config.report:
        callbacks.append(Ending(report.draw.warm_up))
    if isinstance(data, ContrastiveData) and config.probe_data:
        callbacks.append(Labeled(build.neighbors(data, options)))
    return callbacks


def conclude(
    config: Pretrain, run: Run, data: build.Data, made: pl.Trainer, program: str | None
) -> None:
    """Say what a run has reached, write its page, and end what is logged to wandb.

    Args:
        config: of the run.
        run: that has ended, or came to its end early.
        data: what it was trained on.
        made: the trainer.
        program: that trained; None if only a call from Python repeats the run.
    """
    if not run.code and made.is_global_zero:
        several = isinstance(data, ContrastiveData) and data.source.multilabel
        evaluations = build.evaluations_of(data.source) if isinstance(data, SourceData) else None
        metrics = made.callback_metrics
        if had_ended(made):
            trainer.say("")
            trainer.say(describe_end(config, data, made))
            metrics = {k: value for row in run.history for k, value in row.items()}
        ends = config, run, metrics, program
        for line in summary.last_lines(*ends, multilabel=several, evaluations=evaluations):
            trainer.say(line)
    report.after_run(config, run.folder, data, keep=had_ended(made))
    if not run.code:
        weights = run.folder / checkpoints.ENCODER if config.wandb_artifact else None
        numbers = {f"{when}/{k}": v for when, each in run.result.items() for k, v in each.items()}
        trainer.close(made.loggers, 0, numbers, sorted(run.folder.glob("*.png")), weights)


def had_ended(made: pl.Trainer) -> bool:
    """Whether a run that went on had nothing left to train."""
    each = made.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return not any(callback.steps for callback in each if isinstance(callback, Watch))


def describe_end(config: Pretrain, data: build.Data, made: pl.Trainer) -> str:
    """The line about a run that had ended before it was to go on."""
    steps = summary.planned(config, summary.steps_per_epoch(config, data))
    epochs = f"{made.current_epoch:,} of {config.epochs:,} epochs, " * (not config.max_steps)
    done = f"{epochs}{made.global_step:,} of {steps:,} steps"
    return f"ended             {done}: nothing was left to train"


def searches(data: build.Data) -> list[Callback]:
    """The validation of texts, of pairs with scores, and of images with captions."""
    if isinstance(data, TextData) and (data.source.val.judgments[:, 2:] > 0).any():
        pairs = data.source.val
        itself = None if pairs.itself is None else torch.from_numpy(pairs.itself)
        return [Retrieval(len(pairs), torch.from_numpy(pairs.judgments), itself)]
    scores = data.source.val.scores if isinstance(data, TextData) else None
    if isinstance(data, TextData) and scores is not None and len(scores) and np.ptp(scores):
        return [Graded(torch.from_numpy(data.source.val.positive), torch.from_numpy(scores))]
    if isinstance(data, ImageTextData):
        both = data.source.val
        return [CrossRetrieval(len(both.texts), torch.from_numpy(both.judgments))]
    return []


def known_at_start(
    config: Pretrain, data: SourceData, method: Method, recipes: Sequence[Recipe]
) -> dict[str, Any]:
    """What config.json tells besides: the views, what the data can be evaluated by, and sums.

    The sums of what they start from show which runs are comparable.

    Args:
        config: of the run.
        data: what is trained on.
        method: with the encoder as it is initialized.
        recipes: of the views.
    """
    order = checksum(data.sampler(config.global_batch()))
    sums = zip(runs.START, (checkpoints.fingerprint(method.encoder), order), strict=True)
    described = [asdict(recipe) for recipe in recipes]
    return {"recipes": described, **dict(sums), EVALUATIONS: build.evaluations_of(data.source)}
