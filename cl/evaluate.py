"""Evaluation: from a checked configuration to the numbers of an encoder, and what made them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from cl import checkpoints, distributed, export, hardware, launch, preflight, runs
from cl.callbacks.saver import Saver
from cl.config import CARDS, Linear, Pretrain, from_json, to_json
from cl.data import sources
from cl.data.module import ContrastiveData, PlainLoader
from cl.data.recipe import Recipe, preset
from cl.data.sources import Images, Source
from cl.eval import card, features, grid, logreg, nearest
from cl.eval.finetune import Classifier
from cl.eval.judge import Found, judged
from cl.eval.linear import FeatureBatch, FeatureData, Nothing
from cl.eval.linear import Linear as Probe
from cl.layouts import Report
from cl.nets import encoders
from cl.nets.norm import SyncEverywhere
from cl.optim import Optimization

PROGRAM = "main_linear.py"
OF_FEATURES = ("linear", "logistic", "knn", "retrieval", "cluster")  # which is what `all` means
OF_IMAGES = ("finetune", "supervised")
PASS = 256  # images that the frozen encoder sees at a time
REST = 30.0  # seconds of a probe that a crash may cost; its epochs often take a tenth of one


@dataclass
class Seen:
    """What evaluations left behind.

    Args:
        found: by the evaluations' names.
        loggers: that are still open.
        test: features and labels of the test part, where there are any.
    """

    found: dict[str, Found]
    loggers: Sequence[Any] = ()
    test: FeatureBatch | None = None


@dataclass(frozen=True)
class Setting:
    """What is evaluated on what, and where it is written.

    Args:
        config: as checked.
        source: the data set.
        encoder: with its weights.
        recipe: how its images are prepared.
        file: where the weights come from; of none they are random.
        about: what is written beside an encoder's weights, to build it again.
        report: how the file's tensors became the encoder's.
        folder: the evaluation's own.
        checkpoint: from which it goes on, if it does.
        options: of Lightning's Trainer, about the hardware.
    """

    config: Linear
    source: Source
    encoder: nn.Module
    recipe: Recipe
    file: Path | None
    about: dict[str, Any]
    report: Report | None
    folder: Path
    checkpoint: Path | None
    options: dict[str, Any]

    @property
    def transform(self) -> str:
        """How a plain image is prepared, in words."""
        r = self.recipe
        return f"plain {r.size} {r.mean} {r.std} {self.options['precision']}"

    @property
    def classes(self) -> int:
        return len(self.source.classes)


def evaluate(config: Linear) -> int:
    """Evaluate an encoder as configured; the process's exit code back."""
    launch.prepare(config)
    if config.export:
        export.needed()
    before = card.read(cards_of(config.verify)) if config.verify else []
    source = sources.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        data_fraction=config.data_fraction,
        skip_corrupt=config.skip_corrupt,
        labelled=True,
        workers=config.num_workers,
        console=None if runs.other_rank() else launch.console,
    )
    given = config.pretrained_feature_extractor
    file = checkpoints.encoder_file(given) if given else None
    encoder, recipe, about, report = restore(config, file)
    folder, checkpoint = launch.place(config)
    runs.keep_skipped(folder, source.skipped)
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if options["precision"] == "64-true":
        encoder.double()  # which Lightning would do, and the weights' sum would differ
    at = Setting(config, source, encoder, recipe, file, about, report, folder, checkpoint, options)
    if not runs.other_rank():
        preflight.show(f"evaluation {folder.name}", table(at), launch.console)
    frozen = not {*OF_IMAGES} & {*config.eval}
    sums = {"encoder": checkpoints.fingerprint(encoder)}
    work = on_features if frozen and not config.augment else on_images
    code, seen = work(at)
    if code or runs.other_rank():
        return code
    found = seen.found
    if frozen:
        sums["encoder_afterwards"] = checkpoints.fingerprint(encoder)
        if sums["encoder_afterwards"] != sums["encoder"]:
            raise RuntimeError("the frozen encoder changed while it was evaluated")
    cards = [card.card(name, each, made_by(at, sums["encoder"])) for name, each in found.items()]
    write(at, found, sums, cards)
    pictures: list[Path] = []
    if config.pictures and seen.test is not None:
        pictures = drawn(at, seen.test, found)
    if config.export:
        onnx = at.folder / "encoder.onnx"
        apart = export.onnx(encoder, recipe.size, onnx)
        say(f"{'exported':12}{onnx}, features within {apart:.1g} of the encoder's")
    numbers = {f"{name}/{k}": v for name, f in found.items() for k, v in floats(f).items()}
    launch.close(seen.loggers, 0, numbers, pictures)
    return compared(before, cards, config) if config.verify else 0


def table(at: Setting) -> dict[str, object]:
    """What the settings amount to."""
    config, source = at.config, at.source
    weights = f" of {at.file}: {at.report}" if at.file else ", untrained"
    rows: dict[str, object] = {
        "evaluation": " ".join(config.eval) + ", augmented" * config.augment,
        "encoder": f"{config.encoder}{weights}",
        "data": f"{source.name}: {len(source.train):,} train, {len(source.val):,} test, "
        f"{at.classes} classes {source.note}",
        "image": f"{at.recipe.size} px",
        **preflight.distributed(config.nodes, config.devices_per_node, at.options["accelerator"]),
    }
    if {"linear", "all", *OF_IMAGES} & {*config.eval}:
        lr = " ".join(f"{x:g}" for x in config.lr_grid) or f"{config.scaled_lr():g}"
        rows["batch"] = config.global_batch()
        rows["learning rate"] = f"{config.optimizer} {lr} ({config.scheduler})"
        rows["epochs"] = config.epochs
    return rows


def restore(
    config: Linear, file: Path | None
) -> tuple[nn.Module, Recipe, dict[str, Any], Report | None]:
    """The encoder, how its images are prepared, what it takes to build it, whence its weights are.

    Raises:
        ValueError: the weights are another encoder's.
    """
    about = (checkpoints.about_encoder(file) or about_run(file)) if file else {}
    if about and about["encoder"] != config.encoder:
        raise ValueError(
            f"ENCODER {config.encoder}: {file} holds the weights of {about['encoder']}"
        )
    size = config.image_size or about.get("image_size") or config.resolved_image_size
    built, norm = about.get("image_size", size), about.get("norm", "batch")
    encoder = encoders.create(config.encoder, built, norm=norm)
    report = checkpoints.load_encoder(encoder, file) if file else None
    changes: dict[str, Any] = {"size": size}
    changes |= {k: tuple(about[k]) for k in ("mean", "std") if k in about}
    recipe = preset(config.dataset).changed(changes)
    own = {"encoder": config.encoder, "norm": norm, "image_size": built}
    own |= {"mean": list(recipe.mean), "std": list(recipe.std), "dataset": config.dataset}
    if report is not None and report.padding is not None:
        own["padding"] = report.padding
    return encoder, recipe, own, report


def about_run(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a run's .ckpt, by the configuration beside it."""
    config = file.with_name(runs.CONFIG)
    if file.suffix != ".ckpt" or not config.exists():
        return {}
    try:
        run = from_json(config.read_text())
        recipe = json.loads(config.read_text())["derived"]["recipes"][0]
        about = {"mean": recipe["mean"], "std": recipe["std"]}
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{config}, which says what {file} holds: {error!r}") from error
    if not isinstance(run, Pretrain):
        return {}
    size = run.resolved_image_size
    return {"encoder": run.encoder, "norm": run.norm, "image_size": size} | about


def on_features(at: Setting) -> tuple[int, Seen]:
    """What can be told from features that are taken once: exit code, and what was found."""
    config = at.config
    names = OF_FEATURES if config.eval == ("all",) else config.eval
    home = at.file.parent if at.file and (at.file.parent / runs.CONFIG).exists() else at.folder

    def take() -> tuple[FeatureBatch, FeatureBatch]:
        train, test = (
            taken(at, images, home / "features") for images in (at.source.train, at.source.val)
        )
        return train, test

    data = FeatureData(take, batch_size=config.global_batch(), seed=config.seed)
    single = at.options | {"precision": "32-true"}  # of a layer this small
    found: dict[str, Found] = {}
    if "linear" in names:
        probe = Probe(width(at.encoder), at.classes, lambda: planned(at, data, found))
        saver = Saver(at.folder, apart=REST)
        trainer = launch.trainer(config, at.folder, at.checkpoint, [saver], single)
        code = launch.fit(trainer, probe, data, at.checkpoint, PROGRAM, at.folder, more=True)
        if code:
            return code, Seen({})
        with torch.no_grad():
            scores = probe.classifier.cpu()(data.val.h[None])[0]
        seen = judged(scores, data.val.labels)
        found["linear"] = replace(found["linear"], numbers=seen.numbers, confusion=seen.confusion)
    else:
        quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
        settings: dict[str, Any] = {**quiet, **single, "use_distributed_sampler": False}
        trainer = pl.Trainer(logger=launch.loggers(config, at.folder, None), **settings)
        trainer.validate(Nothing(), datamodule=data, verbose=False)
    if trainer.is_global_zero:
        device = trainer.strategy.root_device
        train, test = (
            FeatureBatch(*(t.to(device) for t in part)) for part in (data.train, data.val)
        )
        for name in (name for name in names if name != "linear"):
            found[name] = told(name, train, test, at)
    ordered = {name: found[name] for name in names if name in found}
    return 0, Seen(ordered, trainer.loggers, data.val)


def told(name: str, train: FeatureBatch, test: FeatureBatch, at: Setting) -> Found:
    """One evaluation of features."""
    config, classes = at.config, at.classes
    if name == "logistic":
        return logreg.logistic(train, test, classes, config.c, config.seed)
    if name == "knn":
        ks, temperatures = config.k, config.knn_temperature
        return nearest.classify(train, test, classes, ks, temperatures, config.seed)
    if name == "retrieval":
        return nearest.retrieve(test)
    return nearest.cluster(test, classes, config.seed)


def planned(at: Setting, data: FeatureData, found: dict[str, Found]) -> Optimization:
    """How the linear classifier is trained; of a grid the best on a held-out part."""
    config = at.config
    o = launch.optimization(config)
    how: dict[str, Any] = {"normalisation": "none", "epochs": config.epochs}
    chosen: dict[str, float] = {}
    if config.lr_grid or config.weight_decay_grid:
        best, reached = grid.best(
            data.train,
            at.classes,
            config.lr_grid or (o.lr,),
            config.weight_decay_grid or (o.weight_decay,),
            o,
            epochs=config.epochs,
            batch_size=config.global_batch(),
            seed=config.seed,
        )
        chosen = best._asdict()
        how["grid"] = [{**s._asdict(), "held_out_top1": share} for s, share in reached.items()]
        o = replace(o, **chosen)
        say(f"chosen on a held-out tenth: --lr {o.lr:g} --weight_decay {o.weight_decay:g}")
    how |= {"lr": o.lr, "weight_decay": o.weight_decay, "batch": config.global_batch()}
    how |= {"optimizer": o.optimizer, "scheduler": o.scheduler}
    found["linear"] = Found({}, chosen, how)
    return o


def on_images(at: Setting) -> tuple[int, Seen]:
    """What learns from augmented images: exit code, and what was found."""
    config = at.config
    plain = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarise": 0.0, "views": 1}
    recipe = at.recipe.changed(plain)
    data = ContrastiveData(
        at.source,
        [recipe],
        batch_size=config.batch_size_per_device,
        seed=config.seed,
        workers=config.num_workers,
        backend=config.backend,
        fill_last=config.last_batch_fill,
    )
    o = launch.optimization(config)
    module = Classifier(
        at.encoder,
        at.classes,
        o,
        frozen=config.augment,
        lora_rank=config.lora_rank,
        channels_last=config.channels_last,
    )
    saver = Saver(at.folder, None if config.augment else at.about | {"method": config.eval[0]})
    plugins = [SyncEverywhere(at.options["accelerator"] == "gpu")] if config.processes > 1 else []
    trainer = launch.trainer(config, at.folder, at.checkpoint, [saver], at.options, plugins)
    code = launch.fit(trainer, module, data, at.checkpoint, PROGRAM, at.folder, more=True)
    if code:
        return code, Seen({})
    if module.scores is None:  # all epochs were done when the run was taken up again
        trainer.validate(module, datamodule=data, verbose=False)
    assert module.scores is not None
    assert module.labels is not None
    how = {
        "views": f"crops of {recipe.crop_scale} of the area, mirrored with {recipe.flip:g}",
        "epochs": config.epochs,
        "batch": config.global_batch(),
        "lr": o.lr,
        "weight_decay": o.weight_decay,
        "optimizer": o.optimizer,
        "scheduler": o.scheduler,
        "lora_rank": config.lora_rank,
    }
    found = judged(module.scores, module.labels, how=how)
    return 0, Seen({config.eval[0]: found}, trainer.loggers)


def taken(at: Setting, images: Images, cache: Path) -> FeatureBatch:
    """The features of one part: from the cache, or taken now, a shard a process, and kept there."""
    file = cache / f"{features.key_of(at.encoder, images, at.transform)}.npy"
    found = features.stored(file)
    known = all(distributed.gather_objects(found is not None))
    how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
    say(f"features of {len(images):,} images: {how}")
    if found is None or not known:
        place = distributed.rank(), distributed.world_size()
        loader = PlainLoader(images, at.recipe, PASS, at.config.num_workers, *place)
        own = features.extract(at.encoder, loader, **hardware.own_device(at.options))
        features.store(file, own, len(images))
        found = features.stored(file)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
    return FeatureBatch(*found)


def made_by(at: Setting, encoder: str) -> dict[str, Any]:
    """What all cards of this evaluation share."""
    parts = {"train": at.source.train, "test": at.source.val}
    return {
        "dataset": at.source.name,
        "parts": {
            name: {"images": len(images), "sha256": features.sum_of(images)}
            for name, images in parts.items()
        },
        "split": at.source.note or "as the data set's",
        "encoder": {"name": at.config.encoder, "sha256": encoder},
        "layer": "the encoder's output",
        "transform": at.transform,
        "seed": at.config.seed,
    }


def write(
    at: Setting, found: dict[str, Found], sums: dict[str, str], cards: list[dict[str, Any]]
) -> None:
    """Write numbers, cards and confusions, and say what is in them."""
    result: dict[str, Any] = {name: each.numbers for name, each in found.items()} | sums
    result["encoder_file"] = str(at.file) if at.file else None
    derived = {"global_batch_size": at.config.global_batch(), "cards": cards}
    for name, text in (
        (runs.RESULT, json.dumps(result, indent=2) + "\n"),
        (CARDS, to_json(at.config, derived)),
    ):
        new = at.folder / f"{name}.new"
        new.write_text(text)
        new.replace(at.folder / name)
    for name, each in found.items():
        if each.confusion is not None:
            np.savetxt(at.folder / f"confusion-{name}.csv", each.confusion, fmt="%d", delimiter=",")
    say("")
    for name, each in found.items():
        text = ", ".join(f"{k} {100 * v:.2f} %" for k, v in floats(each).items())
        if span := each.numbers.get("top1_95"):
            text += f" (95 % of test sets: {100 * span[0]:.2f} to {100 * span[1]:.2f} %)"
        say(f"{name:12}{text}")
    say(f"{'encoder':12}sha256 {sums['encoder'][:16]}" + " before and after" * (len(sums) > 1))
    say(f"{'run':12}{at.folder}")


def floats(found: Found) -> dict[str, float]:
    """The numbers that are one number each."""
    return {k: v for k, v in found.numbers.items() if isinstance(v, float)}


def drawn(at: Setting, test: FeatureBatch, found: dict[str, Found]) -> list[Path]:
    """The pictures in the run's folder."""
    from cl.eval import pictures  # matplotlib, which nothing else here needs

    counts = {name: f.confusion for name, f in found.items() if f.confusion is not None}
    source = at.source
    made = pictures.draw(at.folder, test, source.val, source.classes, counts, at.config.seed)
    say(f"{'pictures':12}{', '.join(path.name for path in made)}")
    return made


def compared(before: list[dict[str, Any]], now: list[dict[str, Any]], config: Linear) -> int:
    """Say where the cards differ; 1 if they do."""
    again = {each["evaluation"]: each for each in now}
    wrong = 0
    for each in before:
        name = each["evaluation"]
        found = card.differences(each, again[name]) if name in again else ["not computed"]
        other = [k for k, v in each["versions"].items() if card.versions().get(k) != v]
        say(f"{name}: " + ("; ".join(found) or "the same as then"))
        if found and other:
            say(f"{name}: other versions than then: {', '.join(other)}")
        wrong += bool(found)
    return int(wrong > 0)


def cards_of(given: str) -> Path:
    """The file of `--verify`: itself, or the one in an evaluation's folder."""
    path = Path(given)
    return path / CARDS if path.is_dir() else path


def width(encoder: nn.Module) -> int:
    """Dimensions of the features."""
    return int(encoder.num_features)  # pyright: ignore[reportArgumentType]


def say(text: str) -> None:
    """A line for the user, from the first process."""
    if not runs.other_rank():
        launch.console.print(text, markup=False)
