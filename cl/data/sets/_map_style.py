"""A map-style data set of torch as images: pixels that it holds, or items decoded one at a time."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image

from cl.data.sets._decode import WRONG, Pixels, UnreadableError, rgb
from cl.data.sets._images import Images, Index, Stored


@dataclass(frozen=True, eq=False)
class Items(Stored):
    """Images that a data set decodes one at a time.

    Args:
        data: the data set.
        title: for messages.
        index: which of its items, `(n)`.
    """

    data: Any
    title: str
    index: Index

    def __len__(self) -> int:
        return len(self.index)

    def pixels(self, at: int) -> Pixels:
        try:
            image = self.data[int(self.index[at])][0]
        except WRONG as error:
            raise UnreadableError.of(self.name(at), error) from None
        if not isinstance(image, Image.Image):
            raise UnreadableError.of(self.name(at), f"it is a {type(image).__name__}")
        return rgb(image)

    def read(self, at: int) -> bytes:
        """As a PPM file, which is the pixels behind a line."""
        pixels = self.pixels(at)
        return b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()

    def name(self, at: int) -> str:
        return f"{self.title}, number {self.index[at]}"

    def key(self, at: int) -> str:
        path = self.path(at)
        if path is None:
            return f"{self.name(at)} {hashlib.sha256(self.read(at)).hexdigest()}"
        stat = path.stat()
        return f"{path} {stat.st_size} {stat.st_mtime_ns}"

    def mark(self, at: int) -> str:
        path = self.path(at)
        if path is None:
            return self.key(at)
        return f"{path.parent.name}/{path.name} {path.stat().st_size}"

    def path(self, at: int) -> Path | None:
        """The file of an image, where the data set has a list of them."""
        for name in ("_image_files", "_images", "samples", "_samples", "imgs"):
            found = getattr(self.data, name, None)
            if isinstance(found, list | tuple) and len(found) == len(self.data):
                entry = found[int(self.index[at])]
                first = entry[0] if isinstance(entry, tuple) else entry
                if isinstance(first, str | Path) and Path(first).is_file():
                    return Path(first)
        return None

    def subset(self, index: Index) -> "Items":
        return Items(self.data, self.title, self.index[index])


def images_of(data: Any, title: str) -> Images:
    """A part: in memory where the data set holds its pixels, else decoded one at a time."""
    labels = labels_of(data, title)
    pixels = held(getattr(data, "data", None))
    if pixels is not None:
        return Images(labels, pixels)
    return Images(labels, files=Items(data, title, np.arange(len(labels))))


def held(data: Any) -> Pixels | None:
    """Pixels as `(n h w 3)`, if a data set's `data` is that: gray, channels first or last."""
    x = data.numpy() if isinstance(data, torch.Tensor) else data
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8:
        return None
    if x.ndim == 3:
        return np.ascontiguousarray(repeat(x, "n h w -> n h w c", c=3))
    if x.ndim == 4 and x.shape[1] == 3:
        return np.ascontiguousarray(rearrange(x, "n c h w -> n h w c"))
    return np.ascontiguousarray(x) if x.ndim == 4 and x.shape[3] == 3 else None


def labels_of(data: Any, title: str) -> Index:
    """The labels: torchvision has no one name for them; where none is found each item is read."""
    pairs = getattr(data, "_samples", getattr(data, "samples", None))
    candidates = [getattr(data, n, None) for n in ("targets", "labels", "_labels", "y")]
    candidates.append([c for _, c in pairs] if pairs else None)
    for found in candidates:
        if found is not None and len(found) == len(data):
            labels = np.asarray(found)
            if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
                return labels.astype(np.int64)
    each = [data[i][1] for i in range(len(data))]
    if not all(isinstance(c, int | np.integer) for c in each):
        raise ValueError(f"DATASET {title}: its targets are no classes")
    return np.array(each, np.int64)
