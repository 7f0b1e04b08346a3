"""Pretraining: from a checked configuration to a run."""

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import nn

from cl import hardware, launch, preflight, runs, sketch
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import Saver
from cl.config import Pretrain
from cl.data import sets, sheet
from cl.data.augment.recipe import SMALL_SCALE, SWAV_SMALL, Recipe, full_size
from cl.data.loaders.sampler import Sampler
from cl.data.module import ContrastiveData
from cl.data.sets import Images
from cl.eval._baseline import Baseline, frozen, read
from cl.losses import get_loss
from cl.methods import get_method
from cl.methods._base import Method
from cl.nets import encoders
from cl.nets.norm import SyncEverywhere
from cl.optim import factor
from cl.schedules import FOLLOWS_LOSS

PROGRAM = "main_contrastive.py"
FITTED_ON = 10_000  # images of each part that the measurement before and after looks at


def pretrain(config: Pretrain) -> int:
    """Pretrain as configured; the process's exit code back (0, or why it ended early)."""
    launch.prepare(config)
    source = sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        data_fraction=config.data_fraction,
        skip_corrupt=config.skip_corrupt,
        workers=config.num_workers,
        console=None if runs.other_rank() else launch.console,
    )
    views = recipes(config)
    zero = config.zero_init_residual
    encoder = encoders.create(
        config.encoder, config.resolved_image_size, zero_init_residual=zero, norm=config.norm
    )
    data = ContrastiveData(
        source,
        views,
        batch_size=config.batch_size_per_device,
        seed=config.seed,
        workers=config.num_workers,
        backend=config.backend,
        fill_last=config.last_batch_fill,
        size=config.resolved_image_size,
    )
    if config.show_views:
        sheet.write(data, Path(config.show_views))
        launch.console.print(f"views of {data.describe()}: {config.show_views}", markup=False)
        return 0
    method = build(config, encoder, len(source.classes))
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if config.dry_run:
        show(config, method, source, data, options)
        return 0
    folder, checkpoint = launch.place(config, {"recipes": [asdict(view) for view in views]})
    runs.keep_skipped(folder, source.skipped)
    if not runs.other_rank():
        rows = table(config, method, source, data, options)
        preflight.show(f"run {folder.name}", rows, launch.console)
    callbacks = [Geometry(config.on_collapse), Saver(folder, about(config, views[0]))]
    if config.baseline:
        measure, resumed = measurement(data, options), checkpoint is not None
        callbacks.append(Baseline(folder / runs.RESULT, measure, resumed=resumed))
    on_gpu = options["accelerator"] == "gpu"
    plugins = [SyncEverywhere(on_gpu)] if config.sync_batchnorm and config.processes > 1 else []
    trainer = launch.trainer(config, folder, checkpoint, callbacks, options, plugins)
    code = launch.fit(trainer, method, data, checkpoint, PROGRAM, folder)
    if not code and trainer.is_global_zero:
        report(config, trainer, folder)
    return code


def recipes(config: Pretrain) -> list[Recipe]:
    """The views of a run: a preset with what the command line changes of it."""
    named = {
        "size": config.crop_size or config.resolved_image_size,
        "jitter_order": config.jitter_order,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "saturation": config.saturation,
        "hue": config.hue,
        "crop_scale": config.crop_scale,
        "flip": config.flip_prob,
        "grayscale": config.grayscale_prob,
        "blur": config.blur_prob,
        "solarize": config.solarize_prob,
    }
    given = {k: v for k, v in named.items() if v is not None}
    full = [r.changed(given) for r in full_size(config.dataset, config.recipe, config.n_crops)]
    full = get_method(config.method).views(full, **config.method_settings)
    if not config.multicrop:
        return full
    small = {
        "size": config.resolved_small_crop_size,
        "views": config.n_small_crops,
        "crop_scale": config.small_crop_scale or SMALL_SCALE.get(config.recipe or "", SWAV_SMALL),
        "solarize": config.solarize_prob or 0.0,  # full-size views alone have it in the papers
    }
    return [*full, full[0].changed(small)]


def build(config: Pretrain, encoder: nn.Module, classes: int) -> Method:
    """The method on its encoder."""
    name = config.loss_name
    loss = [partial(get_loss(name), **config.loss_options)] if name else []  # else its own
    return get_method(config.method)(
        encoder,
        *loss,
        classes=classes,
        channels_last=config.channels_last,
        mini_batch_size=config.mini_batch_size,
        mini_batch_norm=config.mini_batch_norm,
        schedules=config.resolved_schedules,
        optimization=launch.optimization(
            config,
            classifier_lr=config.resolved_classifier_lr,
            learned_lr=config.resolved_learned_lr,
        ),
        **config.method_settings,
    )


def about(config: Pretrain, recipe: Recipe) -> dict[str, Any]:
    """What it takes to use the encoder again, written beside its weights."""
    return {
        "encoder": config.encoder,
        "norm": config.norm,
        "image_size": config.resolved_image_size,
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "dataset": config.dataset,
        "method": config.method,
    }


def measurement(data: ContrastiveData, options: dict[str, Any]) -> Any:
    """Linear and kNN accuracy of an encoder on part of the data, on one device."""
    one = hardware.own_device(options)

    def measure(encoder: nn.Module) -> dict[str, float]:
        parts = (spread(data.source.train), spread(data.source.val))
        loaders = (data.plain(parts[0]), data.plain(parts[1]))
        return frozen(encoder, loaders, len(data.source.classes), **one)

    return measure


def spread(images: Images) -> Images:
    """At most `FITTED_ON` of the labelled images, evenly spread."""
    labelled = (images.labels >= 0).nonzero()[0]
    return images.subset(labelled[:: -(-len(labelled) // FITTED_ON)])


def table(
    config: Pretrain,
    method: Method,
    source: sets.Source,
    data: ContrastiveData,
    options: dict[str, Any],
) -> dict[str, object]:
    """What the settings amount to."""
    batch, views = config.global_batch(), sum(r.views for r in data.recipes)
    size = config.batch_size_per_device
    steps = steps_of_epoch(config, source)
    sizes = [r.size for r in data.recipes for _ in range(r.views)]
    states = 2 if config.optimizer in ("adam", "adamw") else 1
    chunk = config.mini_batch_size or size
    memory = preflight.memory(method, method.encoder, sizes, chunk, states)
    loss = " ".join(f"{k} {v}" for k, v in config.loss_settings.items())
    crops = ", ".join(f"{r.views} of {r.size} px" for r in data.recipes)
    return {
        "method": f"{config.method}, {config.loss_name} {loss}",
        "data": f"{source.name}: {len(source.train):,} train, {len(source.val):,} val, "
        f"{len(source.classes)} classes {source.note}",
        "views": crops,
        "loader": data.describe(),
        "encoder": f"{config.encoder}, stem {encoders.stem_of(method.encoder)}, "
        f"{sum(p.numel() for p in method.encoder.parameters()):,} parameters",
        "all parameters": sum(p.numel() for p in method.parameters()),
        "devices": f"{config.processes} x {options['accelerator']}, {options['precision']}",
        **preflight.distributed(config.nodes, config.devices_per_node, options["accelerator"]),
        "global batch": f"{batch:,}, {chunk:,} on a device at a time",
        "negatives per anchor": preflight.negatives(config.loss_name, batch, views),
        "learning rate": f"{config.optimizer} {config.scaled_lr():g} ({config.scheduler}), "
        f"probe {config.resolved_classifier_lr:g}",
        "steps": f"{config.max_steps or steps * config.epochs:,} ({steps} an epoch)",
        "memory": f"about {memory / 2**30:.2f} GB a device",
    }


def steps_of_epoch(config: Pretrain, source: sets.Source) -> int:
    """With all processes that there will be."""
    size, fill = config.batch_size_per_device, config.last_batch_fill
    return len(Sampler(len(source.train), size, 0, 0, config.processes, fill))


def show(
    config: Pretrain,
    method: Method,
    source: sets.Source,
    data: ContrastiveData,
    options: dict[str, Any],
) -> None:
    """The table of a run that is not made, and what would move in it."""
    rows = table(config, method, source, data, options)
    preflight.show("dry run", rows, launch.console)
    per_epoch = steps_of_epoch(config, source)
    steps = min(per_epoch * config.epochs, config.max_steps or sys.maxsize)
    o = method.optimization
    curves = {"lr": [o.lr * factor(o, step, steps, per_epoch) for step in range(steps)]}
    if o.scheduler == FOLLOWS_LOSS:
        curves.clear()
        launch.console.print(f"lr is not drawn: --scheduler {o.scheduler} follows the loss")
    for name, schedule in method.schedules.items():
        curves[name] = [schedule.at(step, steps) for step in range(steps)]
    if curves:
        blocks = sketch.ASCII if launch.console.options.ascii_only else sketch.BLOCKS
        launch.console.print(sketch.lines(curves, blocks=blocks), markup=False)
        sketch.write(curves, Path(config.dry_run or ""))


def report(config: Pretrain, trainer: pl.Trainer, folder: Path) -> None:
    """The last lines of a run: result, place, next command."""
    say = partial(launch.console.print, markup=False)
    probe = trainer.callback_metrics.get("val/probe_top1")
    reached = (
        "not measured: no epoch was completed" if probe is None else f"{100 * probe:.1f} % top-1"
    )
    say(f"\nonline probe      {reached}")
    found = read(folder / runs.RESULT)
    if {"untrained", "trained"} <= found.keys():
        for key, name in (("linear_top1", "linear, frozen "), ("knn_top1", "kNN, frozen    ")):
            before, after = (100 * found[when][key] for when in ("untrained", "trained"))
            say(f"{name}   {after:.1f} % top-1, the same encoder untrained {before:.1f} %")
    words = [config.dataset, config.encoder, "--pretrained_feature_extractor", folder]
    for flag in ("data_folder", "train_dir", "val_dir", "class_list", "image_size"):
        if getattr(config, flag) != getattr(Pretrain, flag, None):
            words += [f"--{flag}", getattr(config, flag)]
    words += ["--skip_corrupt"] if config.skip_corrupt else []
    say(f"run               {folder}")
    say(f"next              {runs.command('main_linear.py', *words)}")
