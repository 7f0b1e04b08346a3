"""Versions of the libraries that compute, as cards, pages and the doctor name them."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "numpy", "scikit-learn", "numba")


def versions() -> dict[str, str]:
    """Of Python and of those libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
