"""Lightning's Trainer as both programs want it: run folder, loggers, early ends, last words."""

import gc
import json
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy as FabricDDP
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from rich.console import Console

from cl import checkpoints, distributed, hardware, logs, rates, runs
from cl.callbacks.bar import Bar, DataWait, Lines
from cl.callbacks.finite import FiniteSteps
from cl.callbacks.peers import LOST, Peers
from cl.callbacks.rates import ConfiguredRates
from cl.callbacks.saver import BROKEN, NOT_FINITE, Saver, peers_of
from cl.callbacks.watch import Watch
from cl.config import Linear, Pretrain, from_json, is_own, signature, to_json
from cl.config.handed_on import data_places
from cl.config.schema import either, options_of
from cl.config.store import batch_of, crops_of_before
from cl.interrupts import ASKED, Stop, interrupts
from cl.metrics import read_metrics
from cl.optim import Optimization
from cl.schedules import FOLLOWS_LOSS
from cl.sharded import ShardedStrategy
from cl.terminal import escape_controls, write_warning

Config = Pretrain | Linear
console = Console(highlight=False, soft_wrap=True)
# Settings that a continued run may change: they move no number of the training.
FREE = {"name", "project", "wandb_entity", "wandb_group", "wandb_tags", "wandb_notes"}
FREE |= {"wandb_artifact", "logger", "probe_data"}
FREE |= {"output", "wandb", "log_every_n_steps", "num_workers", "on_collapse"}
FREE |= {"baseline", "gpus", "devices", "data_folder", "batch_size", "report", "max_time"}
FREE |= {"max_bad_steps", "timeout", "compile", "checkpoint_activations", "strategy"}
FREE |= {f.name for of in (Pretrain, Linear) for f in fields(of) if f.metadata.get("once")}
# Settings that --override may change: they move numbers of the training and no state of it.
LEARNING_RATES = {"lr", "lr_scaling", "bias_lr", "classifier_lr", "learned_lr"}
LEARNING_RATES |= {"warmup_epochs", "warmup_start_lr", "lr_decay_steps", "lr_decay_rate", "min_lr"}
LEARNING_RATES |= {"layer_decay"}
OVERRIDABLE = LEARNING_RATES | {"weight_decay", "momentum", "betas", "adam_eps", "clip_grad_norm"}
OVERRIDABLE |= {"loss_options"}
LENGTHS = ("epochs", "max_steps")  # of a run, which may grow
FREE |= {"checkpoint_every", "checkpoint_unit", "keep_best", "keep_epochs"}
FREE |= {"num_nodes", "global_batch_size"}  # their product is compared
LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning.fabric")
NOISE = (
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists",
    ".isinstance.treespec, LeafSpec",
    "You are using a CUDA device",
    "FSDP2-wrapped module .* returned a view tensor",  # which nothing changes in place
    "The AccumulateGrad node's stream does not match",  # Lightning wraps DDP on a side stream
    r"Detected call of .lr_scheduler.step\(\). before",  # float16's scaler leaves first steps out
    r"Found \d+ module\(s\) in eval mode",  # a frozen encoder is
    "You defined a .validation_step. but have no .val_dataloader",  # loaders of one's own
    "It is recommended to use .self.log",  # what is logged was reduced over the processes
)


def say(line: str) -> None:
    """Print a line for the user, from the first process; names in it stay text."""
    if not runs.other_rank():
        console.print(escape_controls(line), markup=False)


@contextmanager
def setup(config: Config) -> Iterator[None]:
    """Seed everything and silence the frameworks; leave the process as it was found.

    Warning filters, logging levels and signal handlers are restored, and with one process the
    environment too; the processes of a larger run know each other by it. The random generators
    stay where the run leaves them, and the allocator keeps its memory.
    """
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    environment = dict(os.environ)
    distributed.rendezvous()
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # no other may set them
        handlers = {s: signal.getsignal(s) for s in ASKED}
    with warnings.catch_warnings():
        try:
            pl.seed_everything(config.seed, verbose=False)
            hardware.keep_memory()
            for name in LOGGERS:
                logging.getLogger(name).setLevel(logging.WARNING)
            for noise in NOISE:
                warnings.filterwarnings("ignore", noise)
            if not config.debug:
                warnings.showwarning = print_warning
            yield
        finally:
            for folder in [*runs.HELD]:
                runs.leave(folder)
            gc.collect()  # a Trainer, whose loaders keep their worker processes, refers to itself
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if config.processes == 1:
                for name in os.environ.keys() - environment.keys():
                    del os.environ[name]
                os.environ.update(environment)


def print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning in one line, from the first process."""
    if not runs.other_rank():
        write_warning(message)


def run_folder(
    config: Config, derived: Mapping[str, Any] | None = None
) -> tuple[Path, Path | None]:
    """The run's folder, and the checkpoint it continues from if it does.

    Args:
        config: of a new run, or of the one to continue.
        derived: what else config.json tells a reader.

    Raises:
        ValueError: another run is there, or the settings differ from the run that is continued.
    """
    if config.resume_training_from is None:
        folder = config.runs_folder / runs.new_id(config.run_id)
        if read_metrics(folder / runs.METRICS) and not runs.saved(folder):
            check_same_settings(config, folder)  # it ended before it saved anything
        more = {**(derived or {}), **resolved(config), "global_batch_size": config.global_batch()}
        runs.start(folder, to_json(config, more), config.take_over)
        return folder, None
    checkpoint = checkpoints.resumable(config.resume_training_from)
    folder = runs.folder_of(checkpoint)
    changed = check_same_settings(config, folder)
    runs.occupy(folder, later=True, take_over=config.take_over)  # before a row of it is touched
    if changed:
        runs.record(folder, changed)
    return folder, checkpoint


def resolved(config: Config) -> dict[str, Any]:
    """What the settings of a pretraining amount to, for who reads config.json or wandb."""
    if isinstance(config, Linear):
        return {}
    return {
        "learning_rate": config.scaled_lr(),
        "bias_learning_rate": config.resolved_bias_lr,
        "probe_learning_rate": config.resolved_classifier_lr,
        "workers": config.resolved_num_workers,
        "places": data_places(config),
    }


def check_same_settings(config: Config, folder: Path) -> dict[str, Any]:
    """Refuse to continue a run as another one, but longer, or with what `--override` may change.

    Returns:
        The settings that are changed on purpose, with their new values.

    Raises:
        ValueError: with the settings that differ.
    """
    now = json.loads(to_json(config))
    before, batch = earlier_settings(config, (folder / runs.CONFIG).read_text())
    keys = [k for k in now.keys() | before.keys() if k not in FREE and now.get(k) != before.get(k)]
    if config.global_batch() != batch:
        keys.append("batch_size")
    different = "; ".join(f"--{k} {now.get(k)}, was {before.get(k)}" for k in sorted(keys))
    longer = {k for k in LENGTHS if before.get(k) and (now.get(k) or math.inf) > before[k]}
    follows = config.scheduler == FOLLOWS_LOSS
    free = OVERRIDABLE - LEARNING_RATES if follows else OVERRIDABLE
    if None in (before.get("layer_decay"), now.get("layer_decay")):  # other groups of parameters
        free = free - {"layer_decay"}
    if not longer.issuperset(keys) and not (config.override and (free | longer).issuperset(keys)):
        fixed = sorted({*keys} - free - longer)
        words = f"not --{', --'.join(fixed)}" if fixed else "all of it"
        raise ValueError(
            f"{folder} holds a run of other settings: {different}. Its own are given by --config "
            f"{folder / runs.CONFIG}; --override changes {words} on purpose"
        )
    if isinstance(config, Pretrain):
        check_not_learned(config, before.get("loss_options") or {}, folder)
    if keys:
        say(f"{folder} goes on with {different}")
    if longer.intersection(keys):
        say("its schedules go on from here as those of a run that was as long from the start")
    if "max_steps" in longer.intersection(keys):
        say(
            f"an epoch that --max_steps {before['max_steps']} cut short is not completed: the run "
            "has so many steps fewer, and ends before its schedule does"
        )
    return {k: now[k] for k in keys}


def check_not_learned(config: Pretrain, before: Mapping[str, Any], folder: Path) -> None:
    """Refuse other values of the loss's scalars that a run has learned since.

    Args:
        config: of the run that is to go on.
        before: options of the loss that the run was given.
        folder: of the run.

    Raises:
        ValueError: with the scalars that differ.
    """
    given = config.loss_options
    if other := [f"--{k}" for k in config.learned if given.get(k) != before.get(k)]:
        raise ValueError(
            f"{either(other, 'and')} cannot be changed by --override: the run in {folder} goes on "
            "with what it has learned"
        )


def earlier_settings(config: Config, text: str) -> tuple[dict[str, Any], int]:
    """The settings and the global batch in the config.json of the run that is continued."""
    if not any(map(is_own, vars(config).values())):
        earlier = from_json(text)
        return json.loads(to_json(earlier)), earlier.global_batch()
    found = json.loads(text)  # an object's name cannot be looked up, of a notebook say
    batch = found["global_batch_size"] or batch_of(found, found["derived"]) or 0
    plain = {k: o.default for k, o in options_of(type(config)).items() if o.default is not MISSING}
    before = json.loads(json.dumps(plain)) | found  # of a file of before an option was there
    settings = {k: v for k, v in before.items() if k != "derived"}
    return settings | crops_of_before(found, found["derived"]), batch


def settings_as_before(config: Pretrain, folder: Path) -> Pretrain:
    """The configuration with what was the default when the run began that goes on.

    Earlier versions scaled the rate of Adam, which was that of SGD, did not warm up from a method's
    own rate, and cropped bilinearly with every paper's recipe.
    """
    before, _ = earlier_settings(config, (folder / runs.CONFIG).read_text())
    if config.override:
        return config
    kept: dict[str, Any] = {}
    if before.get("optimizer") == config.optimizer:
        if before.get("lr_scaling") and not config.lr_scaling:
            kept["lr_scaling"] = True
        usual = rates.usual_rate("sgd"), rates.usual_rate(config.optimizer)
        if before.get("lr") != config.lr and (before.get("lr"), config.lr) == usual:
            kept["lr"] = before["lr"]
    if warmed_up_otherwise(config, before):
        kept["warmup_start_lr"] = None
    began, same = before.get("crop_interpolation"), before.get("recipe") == config.recipe
    if began and same and config.crop_interpolation is None:
        kept["crop_interpolation"] = began
    spoken = kept | {"warmup_start_lr": f"{rates.warmup_start(config.scaled_lr()):g}"}
    for name, value in ((name, spoken[name]) for name in kept):
        say(f"{folder} keeps --{name}{'' if value is True else f' {value}'}, with which it began")
    return replace(config, **kept)


def warmed_up_otherwise(config: Pretrain, before: Mapping[str, Any]) -> bool:
    """Whether a run began when its method had no warm-up of its own yet, which it has now."""
    of_method = signature.method(config.method).defaults.get("warmup_start_lr")
    same = before.get("method") == config.method and before.get("optimizer") == config.optimizer
    began = before.get("warmup_start_lr")
    return same and began is None and of_method is not None and config.warmup_start_lr == of_method


def optimization(config: Config, **more: Any) -> Optimization:
    """The settings of training, derived ones filled in."""
    return Optimization(
        optimizer=config.optimizer,
        scheduler=config.scheduler,
        lr=config.scaled_lr(),
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        betas=config.betas,
        adam_eps=config.adam_eps,
        min_lr=config.min_lr,
        warmup_epochs=config.warmup_epochs,
        warmup_start_lr=config.warmup_start_lr,
        lr_decay_epochs=config.lr_decay_steps or None,
        lr_decay_rate=config.resolved_lr_decay_rate,
        **more,
    )


class Trainer(pl.Trainer):
    """Lightning's, which `Watch` ends after so many steps.

    Told of them itself it counts epochs otherwise, and continues a run at the end of an epoch by
    ending that epoch once more.
    """

    def __init__(self, max_steps: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.limit = max_steps or -1  # see `cl.optim.step_limit`


def make_trainer(
    config: Config,
    folder: Path,
    checkpoint: Path | None,
    callbacks: Sequence[Callback],
    options: dict[str, Any],
    plugins: Sequence[Any] = (),
    logger: list[Any] | None = None,
    lines: int | None = None,
) -> pl.Trainer:
    """A Trainer that logs into the run's folder, and shows a bar where there is a terminal.

    Of the lines of its epochs about so many as `lines` are printed, by default all.
    """
    watch = Watch(config.log_every_n_steps)
    every = max(1, config.epochs // lines) if lines else 1
    bar = Bar(watch, console, every) if console.is_terminal else Lines(watch, every=every)
    resumed = [] if checkpoint is None else [ConfiguredRates()]
    if options["strategy"] == "ddp":
        patience = timedelta(minutes=config.timeout)
        sharded = isinstance(config, Pretrain) and config.strategy == "fsdp"
        kind = ShardedStrategy if sharded else DDPStrategy
        options = options | {"strategy": kind(timeout=patience)}
    io = checkpoints.SafeIO()
    made = Trainer(
        config.max_steps,
        max_epochs=config.epochs,
        logger=make_loggers(config, folder, checkpoint, io) if logger is None else logger,
        # The last two write what the others have logged.
        callbacks=[
            FiniteSteps(config.max_bad_steps),
            Peers(config.timeout),
            *resumed,
            *callbacks,
            watch,
            bar,
        ],
        plugins=[io, *plugins],
        profiler=DataWait(),
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        gradient_clip_val=config.clip_grad_norm,
        enable_progress_bar=console.is_terminal,
        **options,
    )
    # Lightning's handlers talk to other processes from inside of a signal, and note a SIGTERM where
    # nothing looks at it before the first step.
    made._signal_connector.register_signal_handlers = lambda: None
    return made


def start_processes(options: Mapping[str, Any], timeout: float) -> torch.device:
    """Start the other processes, where there are to be any and nobody did; this one's device.

    Args:
        options: of the Trainer.
        timeout: minutes that a process waits for the others.
    """
    chosen = {name: options[name] for name in ("accelerator", "devices", "num_nodes", "strategy")}
    if chosen["strategy"] == "ddp":
        chosen["strategy"] = FabricDDP(timeout=timedelta(minutes=timeout))
    fabric = Fabric(**chosen)
    fabric.launch()
    return fabric.device


def make_loggers(
    config: Config,
    folder: Path,
    checkpoint: Path | None,
    io: checkpoints.SafeIO | None = None,
) -> list[Any]:
    """The CSV, and wandb if it starts; nothing on other processes than the first.

    Args:
        config: of the run.
        folder: the run's.
        checkpoint: that it goes on from.
        io: what will load it.
    """
    if runs.other_rank():
        return []
    step = (io or checkpoints.SafeIO()).step_of(checkpoint) if checkpoint else 0
    found: list[Any] = [logs.CSVLog(folder / runs.METRICS, step)]
    wandb = logs.wandb_log(
        config.wandb,
        folder,
        run_id=folder.name,
        name=config.name,
        project=config.project,
        config=json.loads(logs.CREDENTIALS.sub("", (folder / runs.CONFIG).read_text())),
        entity=config.wandb_entity,
        group=config.wandb_group or evaluated_run(config),
        tags=[tag.strip() for tag in (config.wandb_tags or "").split(",") if tag.strip()],
        notes=config.wandb_notes,
        job_type="evaluation" if isinstance(config, Linear) else "pretraining",
    )
    if wandb and not wandb.experiment.offline:
        say(f"wandb             {wandb.experiment.url}")
    if config.logger:
        found.append(logs.TensorBoard(folder, name="", version=config.logger, purge_step=step))
    return [*found, wandb] if wandb else found


def evaluated_run(config: Config) -> str | None:
    """The id of the run whose encoder is evaluated; None where none is."""
    given = Path(getattr(config, "pretrained_feature_extractor", None) or "")
    return given.resolve().name if given.name and (given / runs.CONFIG).exists() else None


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    checkpoint: Path | None,
    program: str | None,
    folder: Path,
    *,
    more: bool = False,
    keep_log: bool = False,
) -> int:
    """Train; where it ends early say why and how to go on. The process's exit code back.

    With `more`, where other trainings follow, and with `keep_log` wandb is left open where the
    training came to its end.
    """
    code, why, speaker = 0, "", 0
    peers = peers_of(trainer) or Peers(math.inf)
    savers = [each for each in trainer.checkpoint_callbacks if isinstance(each, Saver)]
    peers.advice = lambda: escape_controls(runs.how_to_go_on(program, folder))
    try:
        with interrupts.handled():
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        for saver in [] if more else savers:
            code, why = saver.outcome()
    except Stop as stop:
        code, why = stop.code, str(stop)
    except SystemExit:  # Lightning's answer to a second Ctrl-C
        code, why = 130, "ended at once, without the step in progress"
    except Exception as error:
        with interrupts.handled():
            lost = peers.why(error)
        steps = [each.describe(trainer) for each in savers if trainer.is_global_zero]
        if lost is None:
            if trainer.is_global_zero:  # the error itself is told by whoever called
                print(*steps, peers.advice(), sep="\n", file=sys.stderr)  # noqa: T201
            raise
        (why, speaker), code = lost, LOST
        why = "; ".join([why, *steps])
    finally:
        peers.end()
    if code or not (more or keep_log):
        close(trainer.loggers, code)
    if code and trainer.global_rank == speaker:
        how = runs.how_to_go_on(program, folder, slower=code in (NOT_FINITE, BROKEN))
        print(f"{why}\n{escape_controls(how)}", file=sys.stderr)  # noqa: T201
    return code


@contextmanager
def closed_by_error(loggers: Sequence[Any]) -> Iterator[None]:
    """End what is logged to wandb where an error ends the run: the process's next run is another.

    Args:
        loggers: of the run.
    """
    try:
        yield
    except BaseException:
        close(loggers, 1)
        raise


def close(
    loggers: Sequence[Any],
    code: int = 0,
    numbers: Mapping[str, float] | None = None,
    pictures: Sequence[Path] = (),
    encoder: Path | None = None,
) -> None:
    """End what is logged to wandb, after its last numbers, pictures and the encoder's file."""
    for logger in loggers:
        if isinstance(logger, logs.Wandb):
            logger.close(code, numbers, pictures, encoder)
