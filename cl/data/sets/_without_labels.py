"""Images without labels, wherever they are: below a folder, of a pattern, in a list, an array."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from cl.data.sets._decode import ARRAY
from cl.data.sets._images import Images, in_files
from cl.data.sets._item import ItemError, stack_of
from cl.data.sets._paths import PathArray
from cl.data.sets._table import (
    DELIMITERS,
    IMAGES,
    column_called,
    column_in,
    columns_in,
    files_named,
    lines_in,
)
from cl.data.sets._values import Decoding
from cl.data.sets._walk import Walk, is_hidden, is_image

LISTS = (".txt", ".lst", *DELIMITERS)
ARRAYS = (ARRAY, ".npz")
PATTERN = "*?["


def images_at(place: Path, walk: Walk, flag: str, how: Decoding) -> Images:
    """All images of a place, with labels of -1, in the order of their paths, or of the list.

    Args:
        place: a folder, whose folders are entered too; a pattern with `*`, `?` or `[...]`, and `**`
            for any folders; a list of paths, `.txt` (one a line), `.csv` or `.tsv` (a column of
            them); or an array `(n h w)` or `(n h w c)`, `.npy` or `.npz`.
        walk: knows which files are images, and counts the others.
        flag: that named the place, for messages.
        how: image files and the values of arrays become pixels.

    Raises:
        ValueError: there are no images, or the file is no such list or array.
    """
    if place.is_dir():
        paths = PathArray.below(str(place), walk.images(place))
    elif place.suffix.lower() in ARRAYS and place.is_file():
        return in_array(place, flag, how)
    elif place.suffix.lower() in LISTS and place.is_file():
        paths = listed_in(place, flag)
    elif is_pattern(str(place)):
        paths = matching(place, walk)
    elif place.exists():
        known = " ".join((*LISTS, *ARRAYS))
        raise ValueError(f"{flag}: {place} is no folder, list or array ({known})")
    else:
        raise ValueError(f"{flag}: there is no {place}")
    if not len(paths):
        left = f"; {walk.describe()}" if walk.left_out else ""
        raise ValueError(
            f"{flag}: no images in {place}; they end in {' '.join(walk.suffixes)}{left}"
        )
    return replace(in_files(paths), decoding=how)


def is_pattern(name: str) -> bool:
    """Whether a name may stand for several files."""
    return any(sign in name for sign in PATTERN)


def files_matching(pattern: Path) -> Iterator[Path]:
    """The files that a pattern matches, but for hidden ones."""
    root = Path(*takewhile(lambda part: not is_pattern(part), pattern.parts))
    found = (p for p in root.glob(str(pattern.relative_to(root))) if p.is_file())
    return (p for p in found if not any(map(is_hidden, p.relative_to(root).parts)))


def matching(pattern: Path, walk: Walk) -> PathArray:
    """The image files that a pattern matches, but for hidden ones."""
    images = sorted(p for p in files_matching(pattern) if is_image(p.name, walk.suffixes))
    return PathArray.of(map(str, images))


def listed_in(file: Path, flag: str) -> PathArray:
    """The paths that a list has; relative ones start at the folder of the list.

    Raises:
        ValueError: it is not one of paths, or some of the files are not there.
    """
    if file.suffix.lower() not in DELIMITERS:
        return files_named(lines_in(file, flag), file, flag)
    column = column_called(columns_in(file, flag), IMAGES, "paths", file, flag)
    return files_named(column_in(file, column, flag), file, flag)


def in_array(file: Path, flag: str, how: Decoding) -> Images:
    """The images of an array, which stays on the disk where its bytes can be used as they are.

    Raises:
        ValueError: it is no array, no such array, or one of several.
    """
    try:
        array = load_array(file)
        pixels = stack_of(array, how)
    except Exception as error:  # damaged bytes can raise anything
        said = error if isinstance(error, OSError | ValueError | EOFError) else "it is damaged"
        raise ValueError(f"{flag}: {file} holds no images: {said}") from None
    mapped = isinstance(array, np.memmap) and np.may_share_memory(array, pixels)
    rows = np.arange(len(pixels)) if mapped else None
    return Images(np.full(len(pixels), -1), pixels, rows=rows)


def load_array(file: Path) -> Any:
    """The array of a .npy, or the one of images in a .npz.

    Raises:
        ItemError: there is not one of images.
        Exception: any, of a damaged file.
    """
    with file.open("rb") as opened:  # which numpy would leave open where it is damaged
        if opened.read(2) == b"PK":
            opened.seek(0)
            found = np.load(opened, allow_pickle=False)
            names = [name for name in found.files if found[name].ndim in (3, 4)]
            if len(names) != 1:
                raise ItemError(
                    f"it must have one array of images, and has {', '.join(names) or 'none'}"
                )
            return found[names[0]]
    return np.load(file, mmap_mode="r", allow_pickle=False)
