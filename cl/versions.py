"""Versions of the libraries that compute, as cards, pages and the doctor name them."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "numpy", "scikit-learn", "numba")


def versions() -> dict[str, str]:
    """Of Python and of those libraries that are installed."""
    return {"python": platform.python_version(), **versions_of(LIBRARIES)}


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """The versions of those of some packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
