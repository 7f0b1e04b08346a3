"""What is evaluated on what: an encoder, a data set, how its images are prepared, the folder."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from cl import checkpoints, distributed, hardware, runs, summary, trainer
from cl.config import Linear
from cl.config.evaluations import about, meant
from cl.data.augment.recipe import Recipe
from cl.data.loaders.texts import TextLoader
from cl.data.module import ContrastiveData, PlainLoader, central_fraction
from cl.data.sets import Images, Source
from cl.data.sets._sums import data_checksum
from cl.eval import NAMES, _cache, _features, get_evaluation
from cl.eval._restore import Restored
from cl.eval._result import BothParts, Features, Labels, check_classes
from cl.locking import is_writable
from cl.nets import encoders
from cl.nets.layers import Layers
from cl.runs.files import FEATURES
from cl.terminal import escape_controls

PASS = 256  # images that the frozen encoder gets at a time
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarize": 0.0, "views": 1}  # but crops


@dataclass
class Task:
    """What is evaluated on what, and where it is written.

    Args:
        config: as checked.
        source: the data set.
        restored: the encoder, how its images are prepared, and where it comes from.
        options: of Lightning's Trainer, about the hardware.

    Attributes:
        folder: the evaluation's own, when it is made.
        checkpoint: from which it is resumed, if it is.
    """

    config: Linear
    source: Source[Any]
    restored: Restored
    options: dict[str, Any]
    folder: Path = field(init=False)
    checkpoint: Path | None = field(init=False, default=None)

    together = False  # whether all processes take part in an evaluation that does not train

    def __post_init__(self) -> None:
        self.encoder, self.recipe, self.about, self.file, self.report, _ = self.restored
        self.fingerprint = checkpoints.fingerprint(self.encoder)  # from before the evaluations
        self.mapped: list[tuple[Tensor, Path]] = []  # features, and the file of each

    def make_folder(self) -> None:
        """Make the evaluation's folder, or take up that of the run that goes on.

        Raises:
            ValueError: there is another run in it.
        """
        rates = summary.rates_of_layers(self.config, self.encoder)
        self.folder, self.checkpoint = trainer.run_folder(self.config, rates)
        runs.keep_skipped(self.folder, self.source.skipped)

    @property
    def transform(self) -> str:
        """How a plain image is prepared, in words."""
        return f"plain {describe_preparation(self.recipe)} {self.options['precision']}"

    @property
    def built(self) -> dict[str, Any]:
        """What no tensor of the encoder tells."""
        about = {k: self.about.get(k) for k in ("norm", "stem", "image_size", "padding", "epsilon")}
        return {"name": self.about["encoder"], **about, **self.layers}

    @cached_property
    def feature_encoder(self) -> nn.Module:
        """What gives the features: the encoder, or layers of it.

        Raises:
            ValueError: the encoder has no such layers.
        """
        if not self.config.layer:
            return self.encoder
        example = encoders.example_for(self.encoder, self.recipe.channels, self.recipe.size)
        return Layers(self.encoder, self.config.layer).measure(example)

    @property
    def layers(self) -> dict[str, Any]:
        """The modules whose outputs are the features, each with its pooling; empty: the last."""
        found = self.feature_encoder
        chosen = [list(each) for each in found.chosen] if isinstance(found, Layers) else []
        return {"layers": chosen} if chosen else {}

    @property
    def cache(self) -> Path:
        """Where features are kept: beside the run that made the encoder, or beside all runs.

        Those of an encoder of the user's own are in the evaluation's folder until it ends, and
        never taken again: its code may change while its weights do not.
        """
        if not self.restored.named:
            return self.folder / FEATURES
        of_a_run = self.file and (self.file.parent / runs.CONFIG).exists()
        home = self.file.parent if self.file and of_a_run else self.config.runs_folder
        return home / FEATURES

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Of both parts how much they hold and a sum, for the protocol card."""
        parts = {"train": self.source.train, "test": self.source.val}
        return {
            name: {"images": len(images), "sha256": data_checksum(images)}
            for name, images in parts.items()
        }

    @property
    def shown_preparation(self) -> dict[str, str]:
        """How samples are prepared, as the table that the run begins with shows it."""
        return {"image": f"{describe_preparation(self.recipe)} ({self.restored.preparation})"}

    @property
    def classes(self) -> int:
        return len(self.source.classes)

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is."""
        learns = any(about(name).of_images for name in meant(self.config.eval))
        return self.config.augment or not learns

    @property
    def of_features(self) -> bool:
        """Whether features are all that is needed of the images."""
        return self.frozen and not self.config.augment

    def function_of(self, name: str) -> str:
        """The function of an evaluation's file that is used; empty for the one of its name."""
        return "augmented" if self.config.augment else ""

    def inputs(self, name: str, features: BothParts) -> tuple[Any, ...]:
        """What an evaluation takes.

        Args:
            name: of the evaluation.
            features: as `features` gives them, on the device; empty for what learns from images.
        """
        return (*(features or (self.encoder, self.crops())), self.classes)

    def check_parts(self, name: str) -> None:
        """Check by the labels alone that an evaluation can be done.

        Raises:
            ValueError: a part has no labels, or there is nothing to tell apart; an image may be of
                several classes, and the evaluation takes one.
        """
        if self.source.multilabel:
            able = [n for n in NAMES if getattr(import_module(f"cl.eval.{n}"), "MULTILABEL", False)]
            module = import_module(get_evaluation(name).__module__)
            if self.config.augment or not getattr(module, "MULTILABEL", False):
                augmented = " --augment" * self.config.augment
                raise ValueError(
                    f"--eval {name}{augmented} is of images of one class each; for those of "
                    f"{self.source.name}, which may be of several, there are {', '.join(able)}"
                )
            return
        for kind, images in {"training": self.source.train, "test": self.source.val}.items():
            if not (images.labels >= 0).any():
                raise ValueError(f"no image of the {kind} part has a label")
        check_classes(self.classes)

    def check_frozen(self) -> None:
        """Compare the encoder with itself from before.

        Raises:
            RuntimeError: it is frozen, and another one now.
        """
        if self.frozen and checkpoints.fingerprint(self.encoder) != self.fingerprint:
            raise RuntimeError("the frozen encoder changed while it was evaluated")

    def crops(self) -> ContrastiveData:
        """Training images as crops that may be mirrored, test images as they are."""
        config = self.config
        return ContrastiveData(
            self.source,
            [self.recipe.changed(PLAIN)],
            batch_size=config.batch_size_per_device,
            seed=config.seed,
            workers=config.resolved_num_workers,
            backend=config.backend,
            fill_last=config.last_batch_fill,
        )

    @property
    def preparation(self) -> dict[str, Any]:
        """How the images reach what is evaluated, for the protocol card."""
        config = self.config
        if self.of_features:
            precision = self.options["precision"]
            return {
                "batch": PASS,
                "channels_last": config.channels_last,
                "precision": precision,
            }
        data = self.crops()
        return {
            "recipe": asdict(data.recipes[0]),
            "order": data.seed,
            "backend": data.backend,
            "last_batch_fill": data.fill_last,
        }

    def features(self, console: Console) -> list[tuple[Tensor, Tensor]]:
        """Features `(n d)` and labels of the training and the test part, see `extract`."""
        parts = self.source.train, self.source.val
        found = [self.extract(images, console) for images in parts]
        if not self.source.multilabel:
            return found
        return [(h, labels_of(images)) for (h, _), images in zip(found, parts, strict=True)]

    def extract(self, images: Images, console: Console) -> Features:
        """The features of one part: from the cache, or extracted, a shard a process, and cached.

        Args:
            images: the part.
            console: where it is said, by the first process.

        Returns:
            Features `(n d)` and labels `(n)`, in the order of the images.

        Raises:
            ValueError: they cannot be written.
        """
        key = _cache.cache_key(self.encoder, images, self.transform, self.built)
        loader = partial(self.image_loader, images)
        return self.extract_by(loader, key, f"{len(images):,} images", len(images), console)

    def image_loader(self, images: Images, rank: int, world: int) -> PlainLoader:
        """What loads this process's images, prepared for the encoder."""
        return PlainLoader(images, self.recipe, PASS, self.config.resolved_num_workers, rank, world)

    def extract_by(
        self,
        loader: Callable[[int, int], PlainLoader | TextLoader],
        key: str,
        what: str,
        n: int,
        console: Console,
    ) -> Features:
        """Extract what a loader gives, see `extract`.

        Args:
            loader: of rank and number of processes.
            key: of all that the features depend on.
            what: the samples are, for the console.
            n: how many there are, of all processes.
            console: see `extract`.
        """
        file = self.cache / f"{key}.npy"

        def wait() -> None:
            console.print(f"another evaluation writes {file}; waiting for it", markup=False)

        with _cache.written_alone(file, wait):
            return self.cached_or_extracted(file, loader, what, n, console)

    def cached_or_extracted(
        self,
        file: Path,
        loader: Callable[[int, int], PlainLoader | TextLoader],
        what: str,
        n: int,
        console: Console,
    ) -> Features:
        """The features in a file of the cache, or extracted and cached there, see `extract_by`."""
        found = None if self.config.verify else self.load(file, n)
        known = all(distributed.gather_objects(found is not None))
        how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
        first = not runs.other_rank()
        if first:
            console.print(escape_controls(f"features of {what}: {how}"), markup=False)
        if found is not None and known:
            return found
        if not distributed.broadcast_object(is_writable(self.cache)):
            file = self.folder / FEATURES / file.name
        new, alone, why = (
            _cache.unfinished_file(file, self.folder.name),
            distributed.world_size() == 1,
            "",
        )

        def allocate(rows: int, width: int) -> Tensor:
            nonlocal why
            why = _cache.shortage(file.parent, n, width)
            mapped = alone and not why
            return _cache.map_new_file(new, rows, width) if mapped else torch.empty(rows, width)

        try:
            own = _features.extract_features(
                self.feature_encoder,
                loader(distributed.rank(), distributed.world_size()),
                channels_last=self.config.channels_last,
                console=console if first and console.is_terminal else None,
                allocate=allocate,
                **hardware.own_device(self.options),
            )
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        if why := distributed.broadcast_object(why):
            trainer.say(why)
            return _cache.gather_features(own)
        _cache.save_features(file, own, n, self.folder.name, mapped=alone)
        found = self.load(file, n)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
        return found

    def load(self, file: Path, n: int) -> Features | None:
        """Features from the cache; which file they are mapped from is noted."""
        found = _cache.load_features(file, n)
        self.mapped += [] if found is None else [(found[0], file)]
        return found

    def private(self, part: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Features and labels that may be changed in place: mapped anew, or copied."""
        h, labels = part
        file = next((file for each, file in self.mapped if each is h), None)
        return h.clone() if file is None else _cache.map_privately(file), labels.clone()

    def forget_features(self) -> None:
        """Delete the features of an encoder of the user's own, which are never taken again."""
        if not self.restored.named:
            shutil.rmtree(self.cache, ignore_errors=True)


def labels_of(images: Images) -> Labels:
    """The labels of images, or where one may be of several classes 1 for each of them."""
    several = images.multilabels
    return torch.tensor(images.labels) if several is None else torch.tensor(several).to(torch.int8)


def describe_preparation(recipe: Recipe) -> str:
    """How a plain image is prepared, in words."""
    share = central_fraction(recipe)
    part = "all of the shorter side"
    if share < 1:
        part = f"the central {share:g} of the shorter side, at least {recipe.size} px"
    part += ", bicubic" * (recipe.interpolation == "bicubic")
    return f"{recipe.size} of {part}, {recipe.mean} {recipe.std}"
