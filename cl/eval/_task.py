"""What is evaluated on what: an encoder, a data set, how its images are prepared, the folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn

from cl import checkpoints, distributed, hardware, preflight, runs
from cl.checkpoints.formats import Report
from cl.config import Linear
from cl.config.evaluations import about, having, meant, plugins
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData, PlainLoader, central_fraction
from cl.data.sets import Images, Source
from cl.eval import _features
from cl.eval._features import Features

PASS = 256  # images that the frozen encoder gets at a time
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarize": 0.0, "views": 1}  # but crops


@dataclass
class Task:
    """What is evaluated on what, and where it is written.

    Args:
        config: as checked.
        source: the data set.
        encoder: with its weights.
        recipe: how its images are prepared.
        file: where the weights come from; None where they are random.
        about: what is written beside an encoder's weights, to build it again.
        report: how the file's tensors became the encoder's.
        folder: the evaluation's own.
        checkpoint: from which it is resumed, if it is.
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

    def __post_init__(self) -> None:
        self.fingerprint = checkpoints.fingerprint(self.encoder)  # from before the evaluations

    @property
    def transform(self) -> str:
        """How a plain image is prepared, in words."""
        r, share = self.recipe, central_fraction(self.recipe.size)
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

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is."""
        learns = any(about(name).of_images for name in meant(self.config.eval))
        return self.config.augment or not learns

    @property
    def of_features(self) -> bool:
        """Whether features are all that is needed of the images."""
        return self.frozen and not self.config.augment

    def check_frozen(self) -> None:
        """Compare the encoder with itself from before.

        Raises:
            RuntimeError: it is frozen, and another one now.
        """
        if self.frozen and checkpoints.fingerprint(self.encoder) != self.fingerprint:
            raise RuntimeError("the frozen encoder changed while it was evaluated")

    def provenance(self) -> dict[str, Any]:
        """What all cards of this run share: data, split, encoder, preprocessing, seed."""
        parts = {"train": self.source.train, "test": self.source.val}
        return {
            "dataset": self.source.name,
            "parts": {
                name: {"images": len(images), "sha256": _features.sum_of(images)}
                for name, images in parts.items()
            },
            "split": self.source.protocol(),
            "encoder": self.built | {"sha256": self.fingerprint},
            "layer": "the encoder's output",
            "transform": self.transform,
            "seed": self.config.seed,
        }

    def crops(self) -> ContrastiveData:
        """Training images as crops that may be mirrored, test images as they are."""
        config = self.config
        return ContrastiveData(
            self.source,
            [self.recipe.changed(PLAIN)],
            batch_size=config.batch_size_per_device,
            seed=config.seed,
            workers=config.num_workers,
            backend=config.backend,
            fill_last=config.last_batch_fill,
        )

    def features(self, console: Console) -> list[tuple[Tensor, Tensor]]:
        """Features `(n d)` and labels `(n)` of the training and the test part, see `extract`."""
        return [self.extract(images, console) for images in (self.source.train, self.source.val)]

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
        n, name = len(images), _features.key_of(self.encoder, images, self.transform, self.built)
        file = self.cache / f"{name}.npy"
        found = None if self.config.verify else _features.stored(file, n)
        known = all(distributed.gather_objects(found is not None))
        how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
        first = not runs.other_rank()
        if first:
            console.print(f"features of {n:,} images: {how}", markup=False)
        if found is not None and known:
            return found
        place = distributed.rank(), distributed.world_size()
        loader = PlainLoader(images, self.recipe, PASS, self.config.num_workers, *place)
        own = _features.extract(
            self.encoder,
            loader,
            channels_last=self.config.channels_last,
            console=console if first and console.is_terminal else None,
            **hardware.own_device(self.options),
        )
        if not distributed.broadcast_object(_features.writable(self.cache)):
            file = self.folder / "features" / file.name
        _features.store(file, own, n, self.folder.name)
        found = _features.stored(file, n)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
        return found

    def table(self) -> dict[str, object]:
        """What the settings amount to, as the run's table shows it."""
        config, source = self.config, self.source
        weights = f" of {self.file}: {self.report}" if self.file else ", untrained"
        rows: dict[str, object] = {
            "evaluation": " ".join(config.eval) + ", augmented" * config.augment,
            "encoder": f"{config.encoder}{weights}",
            "data": f"{source.name}: {source.describe()}",
            "image": f"{self.recipe.size} px",
            **preflight.distributed(
                config.nodes, config.devices_per_node, self.options["accelerator"]
            ),
        }
        if {*having("trains", plugins(config.eval))} & {*config.eval}:
            rates = getattr(config, "lr_grid", ())
            lr = " ".join(f"{x:g}" for x in rates) or f"{config.scaled_lr():g}"
            rows["batch"] = config.global_batch()
            rows["learning rate"] = f"{config.optimizer} {lr} ({config.scheduler})"
            rows["epochs"] = config.epochs
        return rows
