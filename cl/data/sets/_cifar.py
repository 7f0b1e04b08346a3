"""CIFAR-10 and CIFAR-100 in torchvision's folders; their pickles are read as data, not as code."""

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cl.data.sets._images import Images
from cl.data.sets._source import Source, Where
from cl.locking import alone

SAFE = {  # everything that the official pickles name
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class DataOnly(pickle.Unpickler):
    """An unpickler that makes arrays and refuses anything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE:
            raise ValueError(f"a pickle that asks for {module}.{name} is not CIFAR")
        return super().find_class(module, name)


def read_cifar(name: str, where: Where) -> Source:
    """Read both parts into memory; the test part validates.

    Args:
        name: `cifar10` or `cifar100`; torchvision's class of that name in capitals knows the files
            and downloads them.
        where: the folder that holds `cifar-10-batches-py` or `cifar-100-python`.

    Raises:
        ValueError: it is not there; a file is missing, damaged or names code.
    """
    from torchvision import datasets

    official, folder = getattr(datasets, name.upper()), where.folder
    place = folder / official.base_folder
    if where.download:
        download(official, folder)
    if not place.is_dir():
        raise ValueError(
            f"--data_folder {folder}: no {official.base_folder} in it; --download fetches 170 MB"
        )
    other = [
        file
        for file, md5 in [*official.train_list, *official.test_list]
        if md5 != md5_of(place / file)
    ]
    if other:
        warnings.warn(
            f"{place}: {len(other)} files differ from the official ones ({', '.join(other)}); "
            "used as they are",
            stacklevel=2,
        )
    train, val = (
        images_in(place, [file for file, _ in files])
        for files in (official.train_list, official.test_list)
    )
    meta = unpickle(place / official.meta["filename"])
    return Source(name, [str(c) for c in meta[official.meta["key"]]], train, val)


def download(official: Any, folder: Path) -> None:
    """Fetch CIFAR if a file of it is missing, in one process at a time.

    Args:
        official: torchvision's class.
        folder: `--data_folder`.

    Raises:
        ValueError: it cannot be fetched or written.
    """
    place = folder / official.base_folder
    lists = *official.train_list, *official.test_list
    names = [official.meta["filename"], *(file for file, _ in lists)]
    with alone(folder / f".{official.base_folder}.lock"):
        if all((place / name).is_file() for name in names):
            return
        try:
            official(str(folder), download=True)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"--download: no whole {official.__name__} of torchvision ({error})"
            ) from None


def md5_of(path: Path) -> str:
    """The MD5 sum of a file; ValueError if it is missing."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpickle(path: Path) -> dict[str, Any]:
    """A CIFAR file's dictionary."""
    try:
        with path.open("rb") as file:
            content = DataOnly(file, encoding="latin1").load()
    except Exception as error:  # damaged bytes can raise anything
        raise ValueError(f"{path} is no CIFAR file: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no CIFAR file: it holds a {type(content).__name__}")
    return content


def images_in(place: Path, files: list[str]) -> Images:
    """The images of some files, one after the other; of CIFAR-100 with its 100 fine labels."""
    pixels, labels = [], []
    for file in files:
        content = unpickle(place / file)
        key = "fine_labels" if "fine_labels" in content else "labels"
        try:
            rows = np.asarray(content["data"], np.uint8).reshape(len(content[key]), 3, 32, 32)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{place / file} is no CIFAR file: {error}") from None
        pixels.append(rows.transpose(0, 2, 3, 1))
        labels += [int(c) for c in content[key]]
    return Images(np.array(labels, np.int64), np.ascontiguousarray(np.concatenate(pixels)))
