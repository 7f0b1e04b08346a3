"""A map-style data set of torch as images: in memory, or read one at a time when asked for."""

import hashlib
import warnings
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from cl.data.sets._decode import DECODING_ERRORS, UnreadableError, ppm
from cl.data.sets._images import Images, Index, Stored
from cl.data.sets._item import ItemError, label_of, pixels_of, split_item, stack_of
from cl.data.sets._separate import Separate
from cl.data.sets._values import RGB, Decoding, Pixels, bound_pil, too_large

IN_MEMORY = 64, 10**9  # px, bytes: images of one size up to this side are read at once
PATIENCE = 5.0  # seconds, after which it is said that all items are read
PROBES = 8  # items, spread over a data set, that are read to see what it gives
LABELS = ("targets", "labels", "_labels", "y")  # torchvision has no one name for them
PAIRS = ("_samples", "samples")  # lists of (file, label)
FILES = ("_image_files", "_images", "samples", "_samples", "imgs")


def as_pair(data: Any) -> Any:
    """The data; two data sets or loaders that stand in a list, as of `random_split`, as a tuple."""
    two = isinstance(data, list) and len(data) == 2
    return (*data,) if two and all(isinstance(x, Dataset | DataLoader) for x in data) else data


@dataclass(frozen=True, eq=False)
class Items(Stored):
    """Images that a data set reads one at a time.

    Args:
        data: the data set, of which each process reads a copy.
        title: for messages.
        index: which of its items, `(n)`.
        decoding: with which it was opened; digests are of the pixels that it gives.
        digests: sha256 of the pixels of all items as far as they were read, else zeros, `(N 32)`.
    """

    data: Separate
    title: str
    index: Index
    decoding: Decoding = RGB
    digests: Pixels | None = None

    def __len__(self) -> int:
        return len(self.index)

    def item(self, at: int, how: Decoding) -> tuple[Pixels, int | None]:
        """The pixels and the label of an item.

        Raises:
            UnreadableError: the data set cannot read it.
            ItemError: it is no image, or its label is no number.
        """
        return self.typed_item(at, how)[:2]

    def typed_item(self, at: int, how: Decoding) -> tuple[Pixels, int | None, type]:
        """An item, see `item`, and the type of what the data set gives as its image."""
        number = int(self.index[at])
        bound_pil(how)
        try:
            image, label = split_item(self.data.item(number))
            pixels = pixels_of(image, self.name(at), how)
            return pixels, None if label is None else label_of(label), type(image)
        except ItemError as error:
            raise ItemError(f"{self.title}, item {number}: {error}") from None
        except Image.DecompressionBombError:
            raise UnreadableError.of(self.name(at), too_large(how)) from None
        except DECODING_ERRORS as error:
            raise UnreadableError.of(self.name(at), error) from None
        except Exception as error:
            error.add_note(f"This was item {number} of {self.title}.")
            raise

    def pixels(self, at: int, how: Decoding = RGB) -> Pixels:
        return self.item(at, how)[0]

    def read(self, at: int) -> bytes:
        return ppm(self.pixels(at))

    def name(self, at: int) -> str:
        return f"{self.title}, item {self.index[at]}"

    def cache_key(self, at: int) -> str:
        path = self.path(at)
        if path is None:
            return f"{self.name(at)} {self.digest(at)}"
        stat = path.stat()
        return f"{path} {stat.st_size} {stat.st_mtime_ns}"

    def identity(self, at: int) -> str:
        path = self.path(at)
        if path is None:
            return self.cache_key(at)
        return f"{path.parent.name}/{path.name} {path.stat().st_size}"

    def digest(self, at: int) -> str:
        """sha256 of the pixels of an item; it is read unless that has been done."""
        if self.digests is not None and (known := self.digests[self.index[at]]).any():
            return known.tobytes().hex()
        return digest_of(self.pixels(at, self.decoding)).hex()

    def path(self, at: int) -> Path | None:
        """The file of an image, where the data set has a list of them."""
        data, number = base_item(self.data.here()[0], int(self.index[at]))
        for name in FILES:
            files = getattr(data, name, None)
            if isinstance(files, list | tuple) and len(files) == len(data):
                entry = files[number]
                first = entry[0] if isinstance(entry, tuple) else entry
                if isinstance(first, str | Path) and Path(first).is_file():
                    return Path(first)
        return None

    def subset(self, index: Index) -> "Items":
        return replace(self, index=self.index[index])


def digest_of(pixels: Pixels) -> bytes:
    """sha256 of an image as a PPM file."""
    return hashlib.sha256(ppm(pixels)).digest()


def images_of(data: Any, title: str, how: Decoding = RGB) -> Images:
    """The images of a data set, with its labels or -1.

    They are in memory if the data set holds its pixels, or if they are small and of one size.

    Raises:
        ItemError: an item is no image, or another one when it is read again.
    """
    items = Items(Separate(data), title, np.arange(len(data)), how)
    data = items.data.here()[0]
    probes, types = probe(items, how)
    labels, pixels = held_labels(data, probes), held_pixels(data, probes)
    small = pixels is None and are_small(probes, len(items))
    if labels is None or small:
        said = "" if small else f"{title}: all {len(items):,} items are read for their labels; "
        found = read_all(items, how, keep=small, said=said)
        labels = found.labels if labels is None else labels
        pixels = found.pixels if small else pixels
        items = replace(items, digests=found.digests)
    kept = None if pixels is not None else items
    of_arrays = bool(types) and not any(issubclass(each, Image.Image) for each in types)
    return Images(labels, pixels, kept, how, of_arrays=of_arrays)


Probes = dict[int, tuple[Pixels, int | None]]


def probe(items: Items, how: Decoding) -> tuple[Probes, set[type]]:
    """Some items by their places, and the types of their images.

    Those that cannot be read are left out.
    """
    probes, types = Probes(), set[type]()
    for at in np.unique(np.linspace(0, len(items) - 1, PROBES, dtype=int)).tolist()[: len(items)]:
        try:
            image, label, kind = items.typed_item(at, how)
            again = items.item(at, how)
        except UnreadableError:
            continue
        probes[at] = image, label
        types.add(kind)
        if not np.array_equal(image, again[0]):
            raise ItemError(
                f"{items.name(at)}: it is another image when it is read again. Views are drawn "
                "here: give the data set without random transforms, or, if it makes the views "
                "itself, a DataLoader of it to ContrastiveData.from_loaders"
            )
    return probes, types


def are_small(probes: Probes, number: int) -> bool:
    """Whether so many images may be read into memory."""
    (side, size), shapes = IN_MEMORY, {image.shape for image, _ in probes.values()}
    return len(shapes) == 1 and all(
        max(shape) <= side and number * int(np.prod(shape)) <= size for shape in shapes
    )


class Read(NamedTuple):
    """What a pass over all items gives.

    Args:
        labels: -1 without one, `(n)`.
        pixels: `(n h w c)`; None if they are not of one size, or were not to be kept.
        digests: of the pixels, zeros of an item that cannot be read, `(n 32)`.
    """

    labels: Index
    pixels: Pixels | None
    digests: Pixels


def read_all(items: Items, how: Decoding, keep: bool, said: str) -> Read:
    """Read every item once.

    Args:
        items: of a data set.
        how: range of values, channels, orientation.
        keep: keep the pixels.
        said: begins the warning that it takes long; empty for none.
    """
    labels, pixels = np.full(len(items), -1), None
    digests, start = np.zeros((len(items), 32), np.uint8), monotonic()
    for at in range(len(items)):
        if said and monotonic() - start > PATIENCE:
            hint = "an attribute `targets` of the data set, a list of them, would spare it"
            warnings.warn(f"{said}{hint}", stacklevel=2)
            said = ""
        try:
            image, label = items.item(at, how)
        except UnreadableError:  # the error comes when it is asked for
            keep = False
            continue
        labels[at] = -1 if label is None else label
        digests[at] = np.frombuffer(digest_of(image), np.uint8)
        if keep and pixels is None:
            pixels = np.empty((len(items), *image.shape), np.uint8)
        keep = keep and pixels is not None and image.shape == pixels.shape[1:]
        if keep and pixels is not None:
            pixels[at] = image
    return Read(labels, pixels if keep else None, digests)


def base_item(data: Any, number: int) -> tuple[Any, int]:
    """The data set below subsets and concatenations, and the number of an item in it."""
    if isinstance(data, Subset):
        return base_item(data.dataset, int(data.indices[number]))
    if isinstance(data, ConcatDataset):
        part = bisect_right(data.cumulative_sizes, number)
        first = data.cumulative_sizes[part - 1] if part else 0
        return base_item(data.datasets[part], number - first)
    return data, number


def held_pixels(data: Any, probes: Probes) -> Pixels | None:
    """The pixels that a data set holds in `data`, unless its items are other images."""
    pixels = pixels_held(data)
    agree = pixels is not None and all(
        np.array_equal(pixels[at], image) for at, (image, _) in probes.items()
    )
    return pixels if agree else None


def pixels_held(data: Any) -> Pixels | None:
    """The pixels `(n h w 3)` in a data set's `data`, or in that of the ones it consists of."""
    if isinstance(data, Subset):
        pixels = pixels_held(data.dataset)
        return None if pixels is None else pixels[np.asarray(data.indices, np.int64)]
    if isinstance(data, ConcatDataset):
        parts = [pixels_held(part) for part in data.datasets]
        whole = [part for part in parts if part is not None]
        alike = len(whole) == len(parts) and len({part.shape[1:] for part in whole}) == 1
        return np.concatenate(whole) if alike else None
    pixels = getattr(data, "data", None)
    if not isinstance(pixels, np.ndarray | Tensor) or len(pixels) != len(data):
        return None
    try:
        return stack_of(pixels)
    except ItemError:  # something else
        return None


def held_labels(data: Any, probes: Probes) -> Index | None:
    """The labels, -1 if items have none; None where only reading every item tells them."""
    if probes and all(label is None for _, label in probes.values()):
        return np.full(len(data), -1)
    labels = labels_in(data)
    agree = labels is not None and all(labels[at] == label for at, (_, label) in probes.items())
    return labels if agree else None


def labels_in(data: Any) -> Index | None:
    """The labels in an attribute of a data set, or of the ones it consists of."""
    if isinstance(data, Subset):
        labels = labels_in(data.dataset)
        return None if labels is None else labels[np.asarray(data.indices, np.int64)]
    if isinstance(data, ConcatDataset):
        parts = [labels_in(part) for part in data.datasets]
        whole = [part for part in parts if part is not None]
        return np.concatenate(whole) if len(whole) == len(parts) else None
    pairs = next((pairs for name in PAIRS if (pairs := getattr(data, name, None))), None)
    candidates = [getattr(data, name, None) for name in LABELS]
    candidates.append([label for _, label in pairs] if pairs else None)
    for candidate in candidates:
        if candidate is not None and len(candidate) == len(data):
            labels = np.asarray(candidate)
            if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
                return labels.astype(np.int64)
    return None
