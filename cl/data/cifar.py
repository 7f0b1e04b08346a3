"""CIFAR-10 and CIFAR-100 in torchvision's folders; their pickles are read as data, not as code."""

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SAFE = {  # everything that the official pickles name
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
Read = tuple[list[str], npt.NDArray[np.uint8], list[int], npt.NDArray[np.uint8], list[int]]


class DataOnly(pickle.Unpickler):
    """An unpickler that makes arrays and refuses anything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE:
            raise ValueError(f"a pickle that asks for {module}.{name} is not CIFAR")
        return super().find_class(module, name)


def load(name: str, folder: Path, download: bool = False) -> Read:
    """Class names, training pixels `(n 32 32 3)` and labels, test pixels and labels.

    Args:
        name: cifar10 or cifar100.
        folder: that holds `cifar-10-batches-py` or `cifar-100-python`.
        download: fetch the set with torchvision if it is not there.

    Raises:
        ValueError: it is not there; a file is missing, damaged or names code.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    official = CIFAR10 if name == "cifar10" else CIFAR100
    place = folder / official.base_folder
    if download and not place.exists():
        official(str(folder), download=True)
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
    key = "labels" if name == "cifar10" else "fine_labels"
    x, y = parts(place, [file for file, _ in official.train_list], key)
    xv, yv = parts(place, [file for file, _ in official.test_list], key)
    meta = unpickle(place / official.meta["filename"])
    return [str(c) for c in meta[official.meta["key"]]], x, y, xv, yv


def md5_of(path: Path) -> str:
    """The sum of a file that must be there."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpickle(path: Path) -> dict[str, Any]:
    """A CIFAR file's dictionary."""
    try:
        with path.open("rb") as file:
            found = DataOnly(file, encoding="latin1").load()
    except Exception as error:  # damaged bytes raise whatever they happen to spell
        raise ValueError(f"{path} is no CIFAR file: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no CIFAR file: it holds a {type(found).__name__}")
    return found


def parts(place: Path, files: list[str], key: str) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Pixels and labels of some files, one after the other."""
    pixels, labels = [], []
    for file in files:
        found = unpickle(place / file)
        try:
            rows = np.asarray(found["data"], np.uint8).reshape(len(found[key]), 3, 32, 32)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{place / file} is no CIFAR file: {error}") from None
        pixels.append(rows.transpose(0, 2, 3, 1))
        labels += [int(c) for c in found[key]]
    return np.ascontiguousarray(np.concatenate(pixels)), labels
