"""Load a data set by its name, and choose images of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from cl.data.sets._decode import warn_of_pil
from cl.data.sets._images import Images
from cl.data.sets._levels import check_levels, measure_range
from cl.data.sets._plugin import read_plugin
from cl.data.sets._readable import readable
from cl.data.sets._rows import dataset_row, is_plugin, module_of
from cl.data.sets._source import Source, Where
from cl.data.sets._split import split, split_sentence, take_fraction
from cl.data.sets._values import MAX_PIXELS, Decoding


def load(
    name: str,
    data_folder: str,
    train_dir: str | None = None,
    val_dir: str | None = None,
    download: bool = False,
    *,
    class_list: str | None = None,
    value_range: tuple[float, float] | Literal["auto"] | None = None,
    channels: int | None = None,
    exif_orientation: bool | None = None,
    max_pixels: int = MAX_PIXELS,
    data_fraction: float = 1.0,
    val_fraction: float | None = None,
    skip_corrupt: bool = False,
    labeled: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    workers: int = 0,
    console: Console | None = None,
) -> Source[Any]:
    """Load the data set of that name.

    Args:
        name: a file of this folder, with more behind a colon where it takes that, as in
            torchvision:FashionMNIST; or MODULE:NAME, see `read_plugin`.
        data_folder: the folder of data sets.
        train_dir: of class folders, inside it.
        val_dir: likewise, or a pattern of shards; without it a tenth of every training class is
            held out.
        download: fetch it with torchvision if it is not there.
        class_list: a file with the class folders to take.
        value_range: the values that become 0 and 255; `auto` measures them on a sample.
        channels: of the images, see `Decoding`.
        exif_orientation: whether they are turned as their cameras say; by default of data of the
            user's own, and not of a benchmark.
        max_pixels: of an image; a larger one cannot be read.
        data_fraction: a fraction of the training images up to 1, or a number of them above it.
        val_fraction: of every class of the training images, which validates in place of the
            validation part; it is taken before `data_fraction` is.
        skip_corrupt: decode every image now, and leave out those that cannot be decoded.
        labeled: leave the images without a label out.
        image_column: of a table of images.
        label_column: of a table of images; several with commas between them are of a class each.
        label_separator: between the labels of an image in that column.
        workers: threads that decode.
        console: for its progress.

    Raises:
        ValueError: it is missing or not as expected; the message names the flag and the place.
    """
    read = read_plugin if is_plugin(name) else module_of(name).read
    turn = dataset_row(name)["exif_orientation"] if exif_orientation is None else exif_orientation
    known = None if value_range == "auto" else value_range
    how = Decoding(known, channels, turn, max_pixels)
    folders = Path(data_folder), train_dir, val_dir, class_list, download
    source = read(name, Where(*folders, how, image_column, label_column, label_separator))
    if not isinstance(source.train, Images):
        return fraction_of(source, data_fraction)
    source = decoded_as(source, how)
    if source.train.files is not None:
        warn_of_pil()
    if not len(source.train):
        raise ValueError(f"DATASET {name}: no training images in --data_folder {data_folder}")
    if not len(source.val):
        raise ValueError(
            "--val_dir: no validation images; without it a tenth of every class is held out, but "
            "for classes of one image"
        )
    if value_range == "auto":
        source = decoded_as(source, replace(how, value_range=measure_range(source.train)))
    elif source.train.files is not None and dataset_row(name)["image_files"]:
        check_levels(source.train, name)
    if labeled:
        source = replace(source, train=source.train.with_labels(), val=source.val.with_labels())
        if not (len(source.train) and len(source.val)):
            raise ValueError(f"DATASET {name}: no labeled images in one of its parts")
    if val_fraction:
        source = held_out_of(source, val_fraction)
    source = fraction_of(source, data_fraction)
    return readable(source, workers, console) if skip_corrupt else source


def held_out_of(source: Source, fraction: float) -> Source:
    """The data set with a part of its training images in place of its validation part.

    Raises:
        ValueError: no class has two training images.
    """
    train, val = split(source.train, fraction)
    if not len(val):
        raise ValueError(f"--val_fraction {fraction:g}: no class has two training images")
    how = split_sentence(fraction, labeled=bool(source.classes))
    return replace(source, train=train, val=val, held_out=fraction, split=f"of training, {how}")


def fraction_of(source: Source[Any], fraction: float) -> Source[Any]:
    """The data set with a fraction of its training samples; the same object if that is 1."""
    if fraction == 1:
        return source
    part = take_fraction(source.train, fraction)
    nouns = "images" if isinstance(part, Images) else "pairs"
    said = f"{len(part):,} of {len(source.train):,} training {nouns}"
    return replace(source, train=part, note="; ".join(filter(None, (source.note, said))))


def decoded_as(source: Source, how: Decoding) -> Source:
    """The data set with its image files decoded so."""
    parts = {
        part: replace(images, decoding=how)
        for part, images in (("train", source.train), ("val", source.val))
        if images.files is not None
    }
    return replace(source, **parts)
