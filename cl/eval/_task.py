"""What is evaluated on what: an encoder, a data set, how its images are prepared, the folder."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from cl import checkpoints, distributed, hardware, runs, trainer
from cl.config import Linear
from cl.config.evaluations import about, meant
from cl.data import sets
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData, PlainLoader, central_fraction
from cl.data.sets import DECODING, Images, Source
from cl.eval import _cache, _features
from cl.eval._restore import Restored, decoded_as_trained, preparation_flags, restore
from cl.eval._result import Features

PASS = 256  # images that the frozen encoder gets at a time
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarize": 0.0, "views": 1}  # but crops


@dataclass
class Task:
    """What is evaluated on what, and where it is written.

    Args:
        config: as checked.
        source: the data set.
        restored: the encoder, how its images are prepared, and where it comes from.
        folder: the evaluation's own.
        checkpoint: from which it is resumed, if it is.
        options: of Lightning's Trainer, about the hardware.
    """

    config: Linear
    source: Source
    restored: Restored
    folder: Path
    checkpoint: Path | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        self.encoder, self.recipe, self.about, self.file, self.report, _ = self.restored
        self.fingerprint = checkpoints.fingerprint(self.encoder)  # from before the evaluations

    @property
    def transform(self) -> str:
        """How a plain image is prepared, in words."""
        return f"plain {describe_preparation(self.recipe)} {self.options['precision']}"

    @property
    def built(self) -> dict[str, Any]:
        """What no tensor of the encoder tells."""
        about = {k: self.about.get(k) for k in ("norm", "image_size", "padding", "epsilon")}
        return {"name": self.about["encoder"], **about}

    @property
    def cache(self) -> Path:
        """Where features are kept: beside the run that made the encoder, or beside all runs.

        Those of an encoder of the user's own are kept in the evaluation's folder and never taken
        again: its code may change while its weights do not.
        """
        if not self.restored.named:
            return self.folder / "features"
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
        n, name = len(images), _cache.cache_key(self.encoder, images, self.transform, self.built)
        file = self.cache / f"{name}.npy"
        found = None if self.config.verify else _cache.load_features(file, n)
        known = all(distributed.gather_objects(found is not None))
        how = f"cached in {file}" if known else "one pass of the frozen encoder ..."
        first = not runs.other_rank()
        if first:
            console.print(f"features of {n:,} images: {how}", markup=False)
        if found is not None and known:
            return found
        place = distributed.rank(), distributed.world_size()
        loader = PlainLoader(images, self.recipe, PASS, self.config.num_workers, *place)
        own = _features.extract_features(
            self.encoder,
            loader,
            channels_last=self.config.channels_last,
            console=console if first and console.is_terminal else None,
            **hardware.own_device(self.options),
        )
        if not distributed.broadcast_object(_cache.is_writable(self.cache)):
            file = self.folder / "features" / file.name
        _cache.save_features(file, own, n, self.folder.name)
        found = _cache.load_features(file, n)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
        return found


def describe_preparation(recipe: Recipe) -> str:
    """How a plain image is prepared, in words."""
    share = central_fraction(recipe)
    part = "all of the shorter side"
    if share < 1:
        part = f"the central {share:g} of the shorter side, at least {recipe.size} px"
    part += ", bicubic" * (recipe.interpolation == "bicubic")
    return f"{recipe.size} of {part}, {recipe.mean} {recipe.std}"


def load_task(
    config: Linear, source: Source | None = None, restored: Restored | None = None
) -> Task:
    """Load the data set and the encoder with its weights, and make the evaluation's folder.

    Args:
        config: as checked.
        source: the data set; None loads the configured one.
        restored: the encoder; None loads the configured one.

    Raises:
        ValueError: there is no data, no encoder, or no new folder.
    """
    path = config.pretrained_feature_extractor
    file = checkpoints.encoder_file(path) if path and restored is None else None
    if source is None:
        config, asked = decoded_as_trained(config, file), config
        source = load_labeled(config)
        if config != asked:
            how = source.train.decoding.describe()
            trainer.say(f"Images are read as those were that the encoder was trained on: {how}.")
    if config.value_range:  # what auto has measured
        config = replace(config, value_range=source.train.decoding.value_range)
    if restored is None:
        given = preparation_flags(config)
        restored = restore(file, config.encoder, config.dataset, config.image_size, given)
        restored.about.update({name: getattr(config, name) for name in DECODING})
    folder, checkpoint = trainer.run_folder(config)
    runs.keep_skipped(folder, source.skipped)
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if options["precision"] == "64-true":
        restored.encoder.double()  # which Lightning would do, and the weights' sum would differ
    return Task(config, source, restored, folder, checkpoint, options)


def load_labeled(config: Linear) -> Source:
    """Load the configured data set."""
    return sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        value_range=config.value_range,
        channels=config.channels,
        exif_orientation=config.exif_orientation,
        data_fraction=config.data_fraction,
        skip_corrupt=config.skip_corrupt,
        labeled=True,
        workers=config.num_workers,
        console=None if runs.other_rank() else trainer.console,
    )
