"""The data set and the encoder that an evaluation is of, loaded."""

from dataclasses import replace
from typing import Any

from cl import checkpoints, hardware, runs, trainer
from cl.config import Linear
from cl.config.evaluations import by_names
from cl.data import sets
from cl.data.sets import DECODING, Captioned, Images, Source, TextPairs
from cl.eval._pair_task import CaptionedTask, NamedTask
from cl.eval._restore import Restored, decoded_as_trained, preparation_flags, restore
from cl.eval._task import Task
from cl.eval._text_task import TextTask
from cl.nets.encoders import check_sizes, in_single


def load_task(
    config: Linear, source: Source[Any] | None = None, restored: Restored | None = None
) -> Task:
    """Load the data set and the encoder with its weights; nothing is written.

    Args:
        config: as checked.
        source: the data set; None loads the configured one.
        restored: the encoder; None loads the configured one.

    Raises:
        ValueError: there is no data or no encoder.
    """
    path = config.pretrained_feature_extractor
    pair = config.kind == "image-text" or bool(by_names(config.eval))
    if pair and restored is not None:
        raise ValueError(
            f"--eval {' '.join(config.eval)} needs an encoder of texts beside that of images: give "
            "the folder of a run of --method clip in place of a module"
        )
    named = checkpoints.towers_file if pair else checkpoints.encoder_file
    file = named(path) if path and restored is None else None
    if source is None:
        config, asked = decoded_as_trained(config, file), config
        source = load_labeled(config)
        if config != asked:
            how = source.train.decoding.describe()
            trainer.say(f"Images are read as those were that the encoder was trained on: {how}.")
    if isinstance(source.train, Images) and config.value_range:  # what auto has measured
        config = replace(config, value_range=source.train.decoding.value_range)
    if restored is None:
        given = preparation_flags(config)
        size, longest = config.image_size, config.max_length
        restored = restore(
            file,
            config.encoder,
            config.dataset,
            size,
            given,
            longest,
            config.pooling,
            config.kind,
            pair=pair,
        )
        restored.about.update({name: getattr(config, name) for name in DECODING})
    options = hardware.trainer_options(
        config.gpus, config.devices_per_node, config.precision, config.nodes
    )
    if options["precision"] == "64-true":
        restored.encoder.double()  # which Lightning would do, and the weights' sum would differ
    else:
        restored = restored._replace(encoder=in_single(restored.encoder))
    if type(source.train) is Images and not pair:
        check_sizes(restored.encoder, [restored.recipe.size], restored.recipe.channels)
    kinds = {TextPairs: TextTask, Captioned: CaptionedTask, Images: NamedTask if pair else Task}
    return kinds[type(source.train)](config, source, restored, options)


def load_labeled(config: Linear) -> Source[Any]:
    """Load the configured data set."""
    return sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        image_column=config.image_column,
        label_column=config.label_column,
        label_separator=config.label_separator,
        value_range=config.value_range,
        channels=config.channels,
        exif_orientation=config.exif_orientation,
        max_pixels=config.max_pixels,
        data_fraction=config.data_fraction,
        val_fraction=config.val_fraction,
        skip_corrupt=config.skip_corrupt,
        labeled=True,
        workers=config.resolved_num_workers,
        console=None if runs.other_rank() else trainer.console,
    )
