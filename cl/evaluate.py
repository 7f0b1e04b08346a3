"""Linear evaluation: from a checked configuration to the accuracy of a frozen encoder."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import nn

from cl import checkpoints, distributed, hardware, launch, logs, preflight, runs
from cl.callbacks.saver import Saver
from cl.config import Linear
from cl.data import sources
from cl.data.module import PlainLoader
from cl.data.recipe import Recipe, preset
from cl.data.sources import Images
from cl.eval import features
from cl.eval import linear as linear_evaluation
from cl.eval.linear import FeatureBatch, FeatureData
from cl.nets import encoders

PROGRAM = "main_linear.py"


def evaluate(config: Linear) -> int:
    """Train a linear classifier on a frozen encoder's features; the process's exit code back."""
    launch.prepare(config)
    file = checkpoints.encoder_file(config.pretrained_feature_extractor)
    source = sources.load(
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
    encoder, recipe = restore(config, file)
    folder, checkpoint = launch.place(config)
    runs.keep_skipped(folder, source.skipped)
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if options["precision"] == "64-true":
        encoder.double()  # which Lightning would do, and the weights' sum would differ
    before = checkpoints.fingerprint(encoder)
    home = file.parent if (file.parent / runs.CONFIG).exists() else folder

    def take() -> tuple[FeatureBatch, FeatureBatch]:
        train, val = (
            taken(config, encoder, images, recipe, home / "features", options)
            for images in (source.train, source.val)
        )
        return train, val

    data = FeatureData(take, batch_size=config.global_batch(), seed=config.seed)
    o = linear_evaluation.for_probe(launch.optimization(config))
    dim = int(encoder.num_features)  # pyright: ignore[reportArgumentType]
    module = linear_evaluation.Linear(dim, len(source.classes), o)
    if not runs.other_rank():
        rows = table(config, source, file, dim, o.lr, options)
        preflight.show(f"linear evaluation {folder.name}", rows, launch.console)
    single = options | {"precision": "32-true"}  # of a layer this small
    trainer = launch.trainer(config, folder, checkpoint, [Saver(folder)], single)
    code = launch.fit(trainer, module, data, checkpoint, PROGRAM, folder)
    if not code and trainer.is_global_zero:
        report(trainer, folder, file, (before, checkpoints.fingerprint(encoder)))
    return code


def table(
    config: Linear,
    source: sources.Source,
    file: Path,
    dim: int,
    lr: float,
    options: dict[str, Any],
) -> dict[str, object]:
    """What the settings amount to."""
    return {
        "encoder": f"{config.encoder} of {file}",
        "data": f"{source.name}: {len(source.train):,} train, {len(source.val):,} val",
        "features": f"{dim} dimensions",
        **preflight.distributed(config.nodes, config.devices_per_node, options["accelerator"]),
        "batch": config.global_batch(),
        "learning rate": f"{config.optimizer} {lr:g} ({config.scheduler})",
        "epochs": config.epochs,
    }


def restore(config: Linear, file: Path) -> tuple[nn.Module, Recipe]:
    """The encoder with its weights, and how its images are prepared.

    Raises:
        ValueError: the weights are another encoder's.
    """
    about = checkpoints.about_encoder(file)
    if about and about["encoder"] != config.encoder:
        raise ValueError(
            f"ENCODER {config.encoder}: {file} holds the weights of {about['encoder']}"
        )
    size = config.image_size or about.get("image_size") or config.resolved_image_size
    encoder = encoders.create(
        config.encoder, about.get("image_size", size), norm=about.get("norm", "batch")
    )
    checkpoints.load_encoder(encoder, file)
    changes: dict[str, Any] = {"size": size}
    changes |= {k: tuple(about[k]) for k in ("mean", "std") if k in about}
    return encoder, preset(config.dataset).changed(changes)


def taken(
    config: Linear,
    encoder: nn.Module,
    images: Images,
    recipe: Recipe,
    cache: Path,
    options: dict[str, Any],
) -> FeatureBatch:
    """The features of one part: from the cache, or taken now, a shard a process, and kept there."""
    transform = f"plain {recipe.size} {recipe.mean} {recipe.std} {options['precision']}"
    file = cache / f"{features.key_of(encoder, images, transform)}.npy"
    found = features.stored(file)
    known = all(distributed.gather_objects(found is not None))
    if not runs.other_rank():
        how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
        launch.console.print(f"features of {len(images):,} images: {how}", markup=False)
    if found is None or not known:
        place = distributed.rank(), distributed.world_size()
        batch_size = max(config.batch_size, 256)
        loader = PlainLoader(images, recipe, batch_size, config.num_workers, *place)
        own = features.extract(encoder, loader, **hardware.own_device(options))
        features.store(file, own, len(images))
        found = features.stored(file)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
    return FeatureBatch(*found)


def report(trainer: pl.Trainer, folder: Path, file: Path, fingerprints: tuple[str, str]) -> None:
    """Write result.json and say what is in it."""
    rows = logs.read(folder / runs.METRICS)
    best = max(float(row["val/probe_top1"]) for row in rows if row["val/probe_top1"])
    top1, top5 = (float(trainer.callback_metrics[f"val/probe_top{k}"]) for k in (1, 5))
    result = {
        "top1": top1,
        "top5": top5,
        "best_top1": best,
        "encoder_file": str(file),
        "encoder": fingerprints[0],
        "encoder_afterwards": fingerprints[1],
    }
    new = folder / f"{runs.RESULT}.new"
    new.write_text(json.dumps(result, indent=2) + "\n")
    new.replace(folder / runs.RESULT)
    say = partial(launch.console.print, markup=False)
    say(
        f"\nlinear evaluation  {100 * top1:.2f} % top-1, {100 * top5:.2f} % top-5 (last epoch; "
        f"best {100 * best:.2f} %)"
    )
    say(f"frozen encoder     sha256 {fingerprints[0][:16]} before and {fingerprints[1][:16]} after")
    say(f"run                {folder}")
