"""Options of the data: what is trained on, and how it is read."""

from dataclasses import dataclass
from typing import Literal

from cl.config import datasets
from cl.config.options._needs import (
    OF_FOLDERS,
    OF_IMAGE_FILES,
    OF_IMAGES,
    OF_PAIRS,
    OF_TABLES,
    TRANSFORMER,
    WITH_IMAGES,
    WITH_TEXTS,
)
from cl.config.own import FORM, constant
from cl.config.schema import flag


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is trained on, and how it is read."""

    dataset: str = flag(
        datasets.describe_datasets,
        choices=datasets.closed,
        open=datasets.open_forms,
        noun="data set",
        of_path=lambda: datasets.of_path,
        positional=True,
        common=True,
        known_as=("data",),
    )
    encoder: str = flag(
        "any timm model (resnet18, resnet50, vit_tiny_patch16_224, ...), resnet6 and resnet6_wN "
        f"(width N) for small images, for texts bag_wN, hf:FOLDER_OR_NAME (a transformer), "
        "package:NAME (one inside of an installed package) and minilm (6 layers of width 384), or "
        f"{FORM} of your own: a class or function that makes one",
        open=(FORM, "hf:FOLDER", "package:NAME"),
        noun="encoder",
        positional=True,
        common=True,
        known_as=("arch", "backbone", "model"),
    )
    data_folder: str = flag("folder of the data sets", "data", metavar="PATH", common=True)
    train_dir: str | None = flag(
        "training images, inside --data_folder", None, metavar="PATH", needs=OF_FOLDERS
    )
    val_dir: str | None = flag(
        "validation images, inside --data_folder",
        None,
        metavar="PATH",
        needs=("dataset", datasets.Having(("class_folders", "val_dir"))),
    )
    class_list: str | None = flag(
        "file with the class folders to take, one a line", None, metavar="PATH", needs=OF_FOLDERS
    )
    image_column: str | None = flag(
        "column of the images, or of their paths; of shards the suffix of the images",
        None,
        metavar="NAME",
        needs=OF_TABLES,
        shown="found by its type or name",
    )
    label_column: str | None = flag(
        "column of the labels, words or whole numbers; of shards a suffix, or a key of the .json",
        None,
        metavar="NAME",
        needs=OF_TABLES,
        shown="found by its type or name",
    )
    label_separator: str | None = flag(
        "text between the labels of an image that has several, in --label_column; several columns, "
        "one a class, are given with commas between them",
        None,
        metavar="TEXT",
        needs=("dataset", datasets.Having(("multilabel",))),
        shown="one label an image",
    )
    value_range: tuple[float, float] | Literal["auto"] | None = flag(
        "values of image files that become black and white, others are cut off; auto is the range "
        "of a sample of the files",
        None,
        metavar="MIN MAX|auto",
        needs=OF_IMAGE_FILES,
        shown="by their type: of 8 bits all, of 16 the upper eight, of others 0 to 255",
    )
    channels: int | None = flag(
        "channels of the images: of .npy files, whose shape is (h w c), of a TIFF's bands or pages",
        None,
        low=1,
        needs=OF_IMAGE_FILES,
        shown="RGB",
        known_as=("in_chans", "in_channels"),
    )
    exif_orientation: bool | None = flag(
        "turn images as their cameras say",
        None,
        needs=OF_IMAGE_FILES,
        shown="yes for data of your own, no for benchmarks",
    )
    max_pixels: int = flag(
        "refuse images of more pixels, before they are decoded: decoding takes up to 10 bytes a "
        "pixel in every worker",
        constant(datasets.SETS / "_values.py", "MAX_PIXELS"),
        low=1,
        needs=WITH_IMAGES,
    )
    data_fraction: float = flag(
        "fraction of the training samples, of every class alike, or their number; always the same "
        "ones, and a smaller part is a subset of a larger one",
        1.0,
        above=0,
        shown="1, all of them",
    )
    val_fraction: float | None = flag(
        "hold out this fraction of the training images of each class, always the same ones, and "
        "measure on them in place of the data set's own validation split: to choose settings by",
        None,
        above=0,
        below=1,
        needs=OF_IMAGES,
        shown="the data set's own split",
    )
    skip_corrupt: bool = flag(
        "decode every image before training and leave out those that cannot be decoded, instead of "
        "ending at the first one",
        False,
        needs=OF_IMAGES,
    )
    batch_size: int = flag(
        "samples per device and step", 128, low=1, common=True, known_as=("bs", "train_batch_size")
    )
    global_batch_size: int | None = flag(
        "samples of all devices together in a step; overrides --batch_size",
        None,
        low=1,
        shown="--batch_size times devices",
    )
    num_workers: int | None = flag(
        "threads or processes per device that load images",
        None,
        low=0,
        shown="4, or the cores of a device if they are fewer",
        common=True,
        known_as=("workers",),
        needs=WITH_IMAGES,
    )
    backend: Literal["auto", "memory", "torch", "torchvision", "dali"] = flag(
        "what loads and augments: memory (data sets that fit; on the GPU where there is one), "
        "torch (files), torchvision (its operations one by one, slow), dali (files, on the GPU "
        "where there is one)",
        "auto",
        shortcut=("dali", ("auto",)),
        needs=WITH_IMAGES,
    )
    last_batch_fill: bool = flag(
        "fill an epoch's last batch up from the epoch's beginning instead of dropping it", False
    )
    image_size: int | None = flag(
        "side of the images in pixels",
        None,
        low=8,
        common=True,
        shown=datasets.sizes,
        needs=WITH_IMAGES,
    )
    max_length: tuple[int, int] | None = flag(
        "tokens of a query and of a document that are used",
        None,
        low=1,
        needs=WITH_TEXTS,
        metavar=("QUERY", "DOCUMENT"),
        shown="as a folder of sentence-transformers says, else 64 256; of bag_wN 1024 1024",
    )
    pooling: Literal["mean", "cls", "last"] | None = flag(
        "what of a transformer's tokens is the feature of a text: their mean, the first or the "
        "last one",
        None,
        needs=TRANSFORMER,
        shown="as the encoder's folder says for sentence-transformers, else mean",
    )
    query_prompt: str | None = flag(
        "what stands before each query of a transformer: a text, or the name of one of its "
        "folder's prompts; '' is nothing. Before both texts of a pair of one kind",
        None,
        empty=True,
        metavar="TEXT",
        needs=OF_PAIRS,
        shown="that of the run; else the folder's prompt named query, for texts of one kind its "
        "default one",
    )
    document_prompt: str | None = flag(
        "the same before each document",
        None,
        empty=True,
        metavar="TEXT",
        needs=OF_PAIRS,
        shown="the same, named document or passage",
    )
    download: bool = flag(
        "download the data set if it is not in --data_folder",
        False,
        once=True,
        common=True,
        needs=("dataset", datasets.Having(("download",))),
    )
