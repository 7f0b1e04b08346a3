"""Data sets by name: where they lie, what is in them, which part is for validation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from einops import repeat
from rich.console import Console

from cl.data import cifar
from cl.data.decode import warn_of_pil
from cl.data.folders import folders, tiny_imagenet
from cl.data.hub import huggingface
from cl.data.images import Images, Paths, Stored, in_files
from cl.data.parts import Source, Where, fraction, split
from cl.data.readable import readable
from cl.data.shards import webdataset
from cl.data.vision import torchvision_set

__all__ = ["READERS", "Images", "Paths", "Source", "Stored", "in_files", "load"]


def load(
    name: str,
    data_folder: str,
    train_dir: str | None = None,
    val_dir: str | None = None,
    download: bool = False,
    *,
    class_list: str | None = None,
    data_fraction: float = 1.0,
    skip_corrupt: bool = False,
    labelled: bool = False,
    workers: int = 0,
    console: Console | None = None,
) -> Source:
    """The data set of that name.

    Args:
        name: a key of `READERS`, or one that takes more, as in torchvision:FashionMNIST.
        data_folder: where data sets are.
        train_dir: of class folders, inside it.
        val_dir: likewise, or a pattern of shards; without it a tenth of every training class is
            held out.
        download: fetch it with torchvision if it is not there.
        class_list: a file with the class folders to take.
        data_fraction: of the training images: a share up to 1, or a number of them.
        skip_corrupt: decode every image now, and leave out those that cannot be.
        labelled: leave the images without a label out.
        workers: threads that decode.
        console: for its progress.

    Raises:
        ValueError: it is not there or not what it should be; names the flag and the place.
    """
    read = READERS.get(name.partition(":")[0])
    if read is None:
        raise ValueError(f"DATASET: given {name}, allowed {', '.join(READERS)}")
    source = read(name, Where(Path(data_folder), train_dir, val_dir, class_list, download))
    if source.train.files is not None:
        warn_of_pil()
    if not len(source.train):
        raise ValueError(f"DATASET {name}: no training images in --data_folder {data_folder}")
    if not len(source.val):
        raise ValueError(
            "--val_dir: no validation images; without it a tenth of every class is held out, but "
            "for classes of one image"
        )
    if labelled:
        source = replace(source, train=with_labels(source.train), val=with_labels(source.val))
        if not (len(source.train) and len(source.val)):
            raise ValueError(f"DATASET {name}: no labelled images in one of its parts")
    if data_fraction != 1:
        part = fraction(source.train, data_fraction)
        said = f"{len(part):,} of {len(source.train):,} training images"
        source = replace(source, train=part, note="; ".join(filter(None, (source.note, said))))
    return readable(source, workers, console) if skip_corrupt else source


def with_labels(images: Images) -> Images:
    """Those that have one; the very same where all have."""
    known = images.labels >= 0
    return images if known.all() else images.subset(np.flatnonzero(known))


def of_cifar(name: str, where: Where) -> Source:
    """CIFAR-10 or CIFAR-100; the test part validates."""
    classes, x, y, xv, yv = cifar.load(name, where.folder, where.download)
    train, val = (
        Images(np.array(b, np.int64), np.ascontiguousarray(a)) for a, b in ((x, y), (xv, yv))
    )
    return Source(name, classes, train, val)


def digits(name: str, _: Where) -> Source:
    """Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; a fifth of every class validates."""
    from sklearn.datasets import load_digits  # a second, and only for this set

    data: Any = load_digits()
    gray = (data.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.ascontiguousarray(repeat(gray, "n h w -> n h w c", c=3))
    train, val = split(Images(data.target.astype(np.int64), pixels), 0.2)
    return Source(name, [str(c) for c in range(10)], train, val, "a fifth validates")


READERS: dict[str, Callable[[str, Where], Source]] = {
    "digits": digits,
    "cifar10": of_cifar,
    "cifar100": of_cifar,
    "stl10": torchvision_set,
    "svhn": torchvision_set,
    "food101": torchvision_set,
    "tiny_imagenet": tiny_imagenet,
    "imagenet100": folders,
    "imagenet": folders,
    "folder": folders,
    "torchvision": torchvision_set,
    "huggingface": huggingface,
    "webdataset": webdataset,
}
