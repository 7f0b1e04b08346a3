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
from cl.config import CARDS, Linear, to_json
from cl.data import sets
from cl.data.module import ContrastiveData, PlainLoader, kept
from cl.data.recipe import Recipe
from cl.data.sets import Images, Source
from cl.eval import cache, card, features, grid, logreg, nearest
from cl.eval.finetune import Classifier
from cl.eval.judge import Found, judged
from cl.eval.linear import FeatureBatch, FeatureData, Nothing
from cl.eval.linear import Linear as Probe
from cl.eval.restore import restore
from cl.layouts import Report
from cl.nets import encoders
from cl.nets.norm import SyncEverywhere
from cl.optim import Optimization

PROGRAM = "main_linear.py"
OF_FEATURES = ("linear", "logistic", "knn", "retrieval", "cluster")  # which is what `all` means
OF_IMAGES = ("finetune", "supervised")
PASS = 256  # images that the frozen encoder sees at a time
PRECISION = "32-true"  # of a classifier of features, a layer this small
REST = 30.0  # seconds of a probe that a crash may cost; its epochs often take a tenth of one


@dataclass
class Seen:
    """What evaluations left behind.

    Args:
        found: by the evaluations' names.
        loggers: that are still open.
        test: features and labels of the test part, where there are any.
        encoder: that was trained, as it is saved.
    """

    found: dict[str, Found]
    loggers: Sequence[Any] = ()
    test: FeatureBatch | None = None
    encoder: nn.Module | None = None


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
        r, share = self.recipe, kept(self.recipe.size)
        part = "all" if share == 1 else f"the central {share:g}"
        return (
            f"plain {r.size} of {part} of the shorter side, {r.mean} {r.std} "
            f"{self.options['precision']}"
        )

    @property
    def built(self) -> dict[str, Any]:
        """What no tensor of the encoder tells."""
        about = {k: self.about.get(k) for k in ("norm", "image_size", "padding")}
        return {"name": self.about["encoder"], **about}

    @property
    def cache(self) -> Path:
        """Where features are kept: beside the run that made the encoder, or beside all runs."""
        of_a_run = self.file and (self.file.parent / runs.CONFIG).exists()
        home = self.file.parent if self.file and of_a_run else self.config.runs_folder
        return home / "features"

    @property
    def classes(self) -> int:
        return len(self.source.classes)


def evaluate(config: Linear) -> int:
    """Evaluate an encoder as configured; the process's exit code back."""
    launch.prepare(config)
    if config.export:
        export.needed()
    before = card.read(cards_of(config.verify)) if config.verify else []
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
        apart = export.onnx(seen.encoder or encoder, recipe.size, onnx)
        say(f"{'exported':12}{onnx}, features within {apart:.1g} of the largest of the encoder's")
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


def on_features(at: Setting) -> tuple[int, Seen]:
    """What can be told from features that are taken once: exit code, and what was found."""
    config = at.config
    names = OF_FEATURES if config.eval == ("all",) else config.eval

    def take() -> tuple[FeatureBatch, FeatureBatch]:
        return taken(at, at.source.train), taken(at, at.source.val)

    data = FeatureData(take, batch_size=config.global_batch(), seed=config.seed)
    single = at.options | {"precision": PRECISION}
    found: dict[str, Found] = {}
    if "linear" in names:
        probe = Probe(
            encoders.width(at.encoder), at.classes, lambda d: planned(at, data.train, found, d)
        )
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
        return nearest.retrieve(test, at.source.name)
    return nearest.cluster(test, classes, at.source.name, config.seed)


def planned(
    at: Setting, train: FeatureBatch, found: dict[str, Found], device: torch.device
) -> Optimization:
    """How the linear classifier is trained; of a grid the best on a held-out part."""
    config, o = at.config, launch.optimization(at.config)
    how: dict[str, Any] = {"normalisation": "none"}
    chosen: dict[str, float] = {}
    if config.lr_grid or config.weight_decay_grid:
        scaling = config.scaled_lr() / config.lr
        best, reached = grid.best(
            FeatureBatch(*(t.to(device) for t in train)),
            at.classes,
            config.lr_grid or (config.lr,),
            config.weight_decay_grid or (config.weight_decay,),
            replace(o, warmup_start_lr=config.warmup_start_lr),
            epochs=config.epochs,
            batch_size=config.global_batch(),
            seed=config.seed,
            scaling=scaling,
        )
        best = distributed.firsts(best)  # on other devices another may be as good
        how["grid"] = [{**s._asdict(), "held_out_top1": share} for s, share in reached.items()]
        chosen, lr = best._asdict(), best.lr * scaling
        start = min(config.warmup_start_lr, lr)
        o = replace(o, lr=lr, weight_decay=best.weight_decay, warmup_start_lr=start)
        say(f"chosen on a held-out tenth: --lr {best.lr:g} --weight_decay {best.weight_decay:g}")
    options = at.options | {"precision": PRECISION}
    found["linear"] = Found({}, chosen, how | card.training(config, o, options))
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
        "lora_rank": config.lora_rank,
        "backend": data.backend,
        "last_batch_fill": config.last_batch_fill,
    }
    how |= card.training(config, o, at.options)
    found = judged(module.scores, module.labels, how=how)
    return 0, Seen({config.eval[0]: found}, trainer.loggers, encoder=module.evaluated)


def taken(at: Setting, images: Images) -> FeatureBatch:
    """The features of one part: from the cache, or taken now, a shard a process, and kept there."""
    n, name = len(images), f"{cache.key_of(at.encoder, images, at.transform, at.built)}.npy"
    file = at.cache / name
    found = None if at.config.verify else cache.stored(file, n)
    known = all(distributed.gather_objects(found is not None))
    how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
    say(f"features of {n:,} images: {how}")
    if found is None or not known:
        place = distributed.rank(), distributed.world_size()
        loader = PlainLoader(images, at.recipe, PASS, at.config.num_workers, *place)
        shown = launch.console.is_terminal and not runs.other_rank()
        own = features.extract(
            at.encoder,
            loader,
            channels_last=at.config.channels_last,
            console=launch.console if shown else None,
            **hardware.own_device(at.options),
        )
        if not distributed.firsts(cache.writable(at.cache)):
            file = at.folder / "features" / name
        cache.store(file, own, n, at.folder.name)
        found = cache.stored(file, n)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
    return FeatureBatch(*found)


def made_by(at: Setting, encoder: str) -> dict[str, Any]:
    """What all cards of this evaluation share."""
    parts = {"train": at.source.train, "test": at.source.val}
    return {
        "dataset": at.source.name,
        "parts": {
            name: {"images": len(images), "sha256": cache.sum_of(images)}
            for name, images in parts.items()
        },
        "split": at.source.note or "as the data set's",
        "encoder": at.built | {"sha256": encoder},
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
        say(f"{name:12}{', '.join(spelled(k, v, each) for k, v in floats(each).items())}")
    say(f"{'encoder':12}sha256 {sums['encoder'][:16]}" + " before and after" * (len(sums) > 1))
    say(f"{'run':12}{at.folder}")


def spelled(name: str, share: float, found: Found) -> str:
    """A number in words, with its interval where it has one."""
    text = f"{name} {100 * share:.2f} %"
    if span := found.numbers.get(f"{name}_95"):
        text += f" (95 %: {100 * span[0]:.2f} to {100 * span[1]:.2f})"
    return text


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


def say(text: str) -> None:
    """A line for the user, from the first process."""
    if not runs.other_rank():
        launch.console.print(text, markup=False)
