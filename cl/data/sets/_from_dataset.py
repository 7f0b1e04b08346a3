"""The way in from Python: any data set of images, or arrays, as a `Source`."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from cl.data.sets._images import Images, Index
from cl.data.sets._item import ItemError, stack_of
from cl.data.sets._map_style import as_pair, images_of
from cl.data.sets._source import Source
from cl.data.sets._split import HOLD_OUT, held_out_places, split, split_sentence
from cl.data.sets._values import TURNED, Decoding


def from_dataset(
    train: Any,
    val: Any = None,
    *,
    labels: npt.ArrayLike | None = None,
    val_labels: npt.ArrayLike | None = None,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    val_fraction: float = HOLD_OUT,
    decoding: Decoding = TURNED,
) -> Source:
    """A data set of images as a `Source`, whose views this package draws.

    An item is an image, (image, label, ...) or a dictionary with the image under "image", "img" or
    "pixel_values" and the label under "label". An image is a PIL image, or an array or tensor of
    uint8 or of floats in 0 to 1, of shape `(h w)`, `(h w c)` or `(c h w)` with 1 or 3 channels.
    Transforms must neither be random nor normalize. Images of one size up to 64 px are read into
    memory at once, up to 1 GB, others when they are needed.

    Args:
        train: a map-style data set (a `Subset` or `ConcatDataset` as well), a pair of them, or all
            images as one array or tensor `(n h w)`, `(n h w c)` or `(n c h w)`.
        val: likewise; without it, a part of every class of the training images is held out.
        labels: of the training images, `(n)` whole numbers, below 0 where there is none, or `(n c)`
            of 0 and 1 where an image may be of several classes; by default those of the items, and
            -1 if they have none.
        val_labels: of the validation images.
        name: of the data set; by default that of its class.
        classes: names of the classes; by default the data set's `classes`, or numbers.
        val_fraction: fraction of every class that is held out, between 0 and 1.
        decoding: range of values, channels and orientation; PIL images are turned as their cameras
            say.

    Returns:
        The source; without labels its `classes` are empty.

    Raises:
        ValueError: it is no such data set, an item is no such image (the message has its number),
            or labels and classes do not fit; an item is in both parts.
    """
    train = as_pair(train)
    if val is None and isinstance(train, tuple) and len(train) == 2:
        train, val = train
    name = name or name_of(train)
    check_apart(train, val, name)
    first = part_of(train, labels, f"{name} train", decoding)
    if val is None:
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction must be between 0 and 1, not {val_fraction}")
        parts = hold_out(first, train, val_fraction)
        said = split_sentence(val_fraction, labeled=bool((first.labels >= 0).any()))
        held_out, how = val_fraction, f"it has no validation part: {said}"
    else:
        parts = first, part_of(val, val_labels, f"{name} validation", decoding)
        held_out, how = 0.0, ""
    last = max(last_class(images) for images in parts)
    names, named = class_names(train, classes, last)
    return Source(name, names, *parts, held_out=held_out, split=how, named=named)


def name_of(data: Any) -> str:
    """The name of a data set's class, below subsets and concatenations."""
    if isinstance(data, Subset):
        return name_of(data.dataset)
    if isinstance(data, ConcatDataset):
        return name_of(data.datasets[0])
    return type(data).__name__


def check_apart(train: Any, val: Any, name: str) -> None:
    """Refuse parts that share items of one data set, through any subsets and concatenations.

    Raises:
        ValueError: they do.
    """
    if val is None or not (hasattr(train, "__len__") and hasattr(val, "__len__")):
        return
    first, second = (np.unique(items_below(part), axis=0) for part in (train, val))
    each = np.concatenate([first, second])
    if both := len(each) - len(np.unique(each, axis=0)):
        raise ValueError(f"{name}: {both} items are in the training and in the validation part")


def items_below(data: Any, index: Index | None = None) -> Index:
    """Which item of which data set each item is, below subsets and concatenations.

    Args:
        data: with a length.
        index: of which of its items, `(n)`; below 0 from the end, as in a `Subset`'s indices. None:
            of all.

    Returns:
        The `id` of a data set and the item's number there, `(n 2)`.
    """
    index = np.arange(len(data)) if index is None else index
    if isinstance(data, Subset):
        return items_below(data.dataset, np.asarray(data.indices, np.int64)[index])
    index = index % max(1, len(data)) if hasattr(data, "__len__") else index
    found = np.stack([np.full(len(index), id(data)), index], axis=1)
    if isinstance(data, ConcatDataset):
        for part, stop in zip(data.datasets, data.cumulative_sizes, strict=True):
            start = stop - len(part)  # pyright: ignore[reportArgumentType]  # it has a length
            own = (index >= start) & (index < stop)
            found[own] = items_below(part, index[own] - start)
    return found


def hold_out(images: Images, data: Any, fraction: float) -> tuple[Images, Images]:
    """`split` by items: one that a data set has several times is on one side.

    Args:
        images: those of the data set.
        data: the data set.
        fraction: of every class, counted by items.

    Returns:
        The training images, and the held-out ones, each of these once.
    """
    if not isinstance(data, Subset | ConcatDataset):
        return split(images, fraction)
    _, at, item = np.unique(items_below(data), axis=0, return_index=True, return_inverse=True)
    at, item = np.sort(at), at[item.ravel()]  # where each item is first
    held_out = at[held_out_places(images.subset(at), fraction)]
    trains = np.flatnonzero(~np.isin(item, held_out))
    return images.subset(trains), images.subset(held_out)


def part_of(data: Any, labels: npt.ArrayLike | None, title: str, decoding: Decoding) -> Images:
    """The images of a part with the given labels or its own."""
    if isinstance(data, np.ndarray | Tensor):
        try:
            pixels = stack_of(data, decoding)
        except ItemError as error:
            raise ItemError(f"{title}: {error}") from None
        images = Images(np.full(len(pixels), -1), pixels)
    else:
        check_map_style(data, title)
        images = images_of(data, title, decoding)
    if not len(images):
        raise ValueError(f"{title}: it has no items")
    if labels is None:
        return images
    if np.ndim(labels) == 2:
        return replace(images, multilabels=as_multilabels(labels, images, title))
    return replace(images, labels=as_labels(labels, images, title))


def check_items(data: Any) -> None:
    """Refuse an empty list, and a pair of them: nothing says what its items are.

    Raises:
        ValueError: it is one.
    """
    parts = data if isinstance(data, tuple) else (data,)
    if all(isinstance(part, list | tuple) and not part for part in parts):
        raise ValueError(f"{name_of(data)}: it has no items")


def check_map_style(data: Any, title: str) -> None:
    """Refuse what has no items by number."""
    if isinstance(data, DataLoader):
        raise ValueError(
            f"{title}: it is a DataLoader. Give its data set; or, if it gives the views of each "
            "sample, give it to ContrastiveData.from_loaders"
        )
    if isinstance(data, IterableDataset):
        raise ValueError(
            f"{title}: an IterableDataset cannot be shuffled, held out from or resumed here. Give "
            "a map-style data set; or, if it gives the views of each sample, a DataLoader of it to "
            "ContrastiveData.from_loaders"
        )
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise ValueError(
            f"{title}: it is a {type(data).__name__}; it must be a data set with len() and items "
            "by number, or an array or tensor of images"
        )


def as_labels(labels: npt.ArrayLike, images: Images, title: str) -> Index:
    """Given labels as whole numbers."""
    array = np.asarray(labels)
    if array.shape != (len(images),) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{title}: labels are {array.dtype} of shape {array.shape}; {len(images)} images need "
            f"({len(images)},) whole numbers"
        )
    return array.astype(np.int64)


def as_multilabels(labels: npt.ArrayLike, images: Images, title: str) -> npt.NDArray[np.uint8]:
    """Given sets of labels as zeros and ones."""
    array = np.asarray(labels)
    if len(array) != len(images) or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{title}: labels of shape {array.shape} must be 0 or 1, {len(images)} rows of them"
        )
    return array.astype(np.uint8)


def last_class(images: Images) -> int:
    """The largest number of a class, -1 where there is none."""
    if images.multilabels is not None:
        return images.multilabels.shape[1] - 1
    return int(images.labels.max(initial=-1))


def class_names(data: Any, given: Sequence[str] | None, last: int) -> tuple[list[str], bool]:
    """The names of classes up to number `last`, or numbers; and whether they are names."""
    if last < 0:
        return [], True
    if given is not None and len(given) <= last:
        raise ValueError(f"classes: {len(given)} names are given, but there is a label {last}")
    while isinstance(data, Subset):
        data = data.dataset
    own = getattr(data, "classes", None)
    own = () if own is None or isinstance(own, Integral) else own  # which names none
    names = [str(c) for c in (own if given is None else given)]
    known = len(names) > last
    return names if known else [str(c) for c in range(last + 1)], known
