"""From a checked configuration to a pretrained run."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch import nn

from cl import checkpoints, hardware, logs, preflight, runs
from cl.callbacks.bar import Bar, Lines
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import Saver
from cl.callbacks.stop import Stop
from cl.callbacks.watch import Watch
from cl.config import Pretrain, from_json, to_json
from cl.data import sources
from cl.data.module import ContrastiveData, plain_loader
from cl.data.recipe import Recipe
from cl.eval.baseline import Baseline, frozen, read
from cl.losses import get_loss
from cl.methods.barlow_twins import BarlowTwins
from cl.methods.base import Method
from cl.methods.simclr import SimCLR
from cl.methods.simsiam import SimSiam
from cl.methods.supcon import SupCon
from cl.nets import encoders
from cl.optim import Optimization

PROGRAM = "main_contrastive.py"


def pretrain(config: Pretrain) -> int:
    """Pretrain as configured; the process's exit code back (0, or why it ended early)."""
    pl.seed_everything(config.seed, verbose=False)
    hardware.keep_memory()
    console = Console(highlight=False, soft_wrap=True)
    source = sources.load(
        config.dataset, config.data_folder, config.train_dir, config.val_dir, config.download
    )
    recipes = config_recipes(config)
    folder, checkpoint = place(config)
    options = hardware.trainer_options(config.gpus, config.devices, config.precision)
    data = ContrastiveData(
        source,
        recipes,
        batch_size=config.batch_size_per_device,
        seed=config.seed,
        workers=config.num_workers,
        backend=config.backend,
        fill_last=config.last_batch_fill,
    )
    encoder = encoders.create(
        config.encoder, recipes[0].size, zero_init_residual=config.zero_init_residual
    )
    method = build(config, encoder, len(source.classes))
    watch = Watch(config.log_every_n_steps)
    trainer = pl.Trainer(
        max_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        logger=loggers(config, folder, checkpoint),
        callbacks=[*callbacks(config, folder, source, recipes[0], options, watch)],
        plugins=[checkpoints.SafeIO()],
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        enable_progress_bar=console.is_terminal,
        **options,
    )
    if trainer.is_global_zero:
        preflight.show(f"run {folder.name}", table(config, method, source, data, trainer), console)
    return fit(trainer, method, data, folder, checkpoint, console)


def fit(
    trainer: pl.Trainer,
    method: Method,
    data: ContrastiveData,
    folder: Path,
    checkpoint: Path | None,
    console: Console,
) -> int:
    """Train, whatever happens say where the run lies and how to go on; the exit code back."""
    code, why = 0, ""
    try:
        trainer.fit(method, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except Stop as stop:
        code, why = stop.code, str(stop)
    except KeyboardInterrupt:
        code, why = 130, "ended at once; the step in progress is lost"
    finish_wandb(trainer, code)
    if not trainer.is_global_zero:
        return code
    if code:
        console.print(f"{why}\n{runs.how_to_go_on(PROGRAM, folder)}", markup=False, style="bold")
    else:
        report(trainer, folder, console)
    return code


def place(config: Pretrain) -> tuple[Path, Path | None]:
    """The run's folder, and the checkpoint it continues from if it does.

    Raises:
        ValueError: another run is there, or the settings differ from the run that is continued.
    """
    if config.resume_training_from is None:
        folder = Path(config.output) / runs.new_id(config.run_id)
        runs.start(folder, to_json(config))
        return folder, None
    checkpoint = checkpoints.resumable(config.resume_training_from)
    folder = runs.folder_of(checkpoint)
    runs.same_settings(config, from_json((folder / runs.CONFIG).read_text()))
    return folder, checkpoint


def config_recipes(config: Pretrain) -> list[Recipe]:
    """The views of a run: the data set's preset with what the command line changes of it."""
    raise AssertionError


def build(config: Pretrain, encoder: nn.Module, classes: int) -> Method:
    """The method on its encoder."""
    constant = ("predictor",) if config.no_lr_scheduler_for_pred_head else ()
    base: dict[str, Any] = {
        "classes": classes,
        "channels_last": config.channels_last,
        "optimization": optimization(config, constant),
        "hidden": config.hidden_mlp,
        "dim": config.embedding_dim,
    }
    if config.method == "barlow_twins":
        return BarlowTwins(encoder, **config.loss_options, **base)
    if config.method == "simsiam":
        return SimSiam(encoder, pred_hidden=config.pred_hidden_mlp, **base)
    loss = partial(get_loss(config.loss), **config.loss_options)
    if config.method == "supcon":
        return SupCon(encoder, loss, **base)
    return SimCLR(encoder, loss, supervised=config.supervised, **base)
