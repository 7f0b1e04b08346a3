"""Sums of samples, by which other data are noticed."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from cl.data.sets._images import Images, Stored
from cl.data.sets._texts import Captioned, Samples, TextPairs, serialized


def data_checksum(samples: Samples) -> str:
    """sha256 of labels and pixels, or of labels and files by name and size, wherever they lie.

    Of texts it is of the texts.
    """
    digest = hashlib.sha256()
    if isinstance(samples, TextPairs):
        for part in samples.content():
            digest.update(part)
        return digest.hexdigest()
    if isinstance(samples, Captioned):
        for each in samples.captions:
            digest.update(len(each).to_bytes(8, "little") + serialized(each))
        samples = samples.images
    return hash_images(digest, samples, lambda files, at: files.identity(at))


def hash_images(digest: Any, images: Images, word: Callable[[Stored, int], str]) -> str:
    """A sum that goes on with labels and pixels, or with labels and a word for each file."""
    digest.update(np.ascontiguousarray(images.labels).data)
    if images.multilabels is not None:
        digest.update(np.ascontiguousarray(images.multilabels).data)
    if images.pixels is not None:
        for stack in images.stacks():
            digest.update(np.ascontiguousarray(stack).data)
    if images.files is not None:
        for at in range(len(images.files)):
            # A file's name may be no text in UTF-8; its bytes are as they are.
            digest.update(f"{word(images.files, at)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
