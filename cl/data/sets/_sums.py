"""Sums of images, by which other data are noticed."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from cl.data.sets._images import Images, Stored


def data_checksum(images: Images) -> str:
    """sha256 of labels and pixels, or of labels and files by name and size, wherever they lie."""
    return hash_images(hashlib.sha256(), images, lambda files, at: files.identity(at))


def hash_images(digest: Any, images: Images, word: Callable[[Stored, int], str]) -> str:
    """A sum that goes on with labels and pixels, or with labels and a word for each file."""
    digest.update(np.ascontiguousarray(images.labels).data)
    if images.pixels is not None:
        digest.update(np.ascontiguousarray(images.pixels).data)
    if images.files is not None:
        for at in range(len(images.files)):
            digest.update(f"{word(images.files, at)}\n".encode())
    return digest.hexdigest()
