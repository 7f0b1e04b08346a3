"""Leave out the images that cannot be read: one pass over all of them before training."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track

from cl.data.sets._decode import UnreadableError
from cl.data.sets._images import Images, Index
from cl.data.sets._source import Source

PIECE = 256  # images that a thread decodes at a time
NAMED = 5  # of the unreadable ones, in the warning


def readable(source: Source, workers: int, console: Console | None = None) -> Source:
    """The data set without the images that cannot be decoded.

    Args:
        source: every image of it is decoded, unless it is in memory.
        workers: number of threads; at least one is used.
        console: shows the progress; None shows none.

    Raises:
        ValueError: no image of a part can be decoded.
    """
    parts, skipped, total = {}, list[str](), 0
    for part, what in (("train", "training"), ("val", "validation")):
        images: Images = getattr(source, part)
        if images.files is None:
            continue
        bad = [*unreadable(images, workers, f"{what} images", console)]
        if len(bad) == len(images):
            raise ValueError(
                f"--skip_corrupt: none of the {len(images)} {what} images can be read, "
                f"{images.files.name(0)} for one"
            )
        skipped += [images.files.name(at) for at in bad]
        total += len(images)
        parts[part] = images.subset(np.setdiff1d(np.arange(len(images)), bad))
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {total} images cannot be read and are left out: "
            f"{', '.join(skipped[:NAMED])}; all of them are in the run's skipped.txt",
            stacklevel=2,
        )
    return replace(source, **parts, skipped=tuple(skipped))


def unreadable(
    images: Images, workers: int, what: str, console: Console | None = None
) -> Iterator[int]:
    """The places of the images that cannot be decoded, in order."""

    def fails(at: int) -> bool:
        try:
            images.pixel(at)
        except UnreadableError:
            return True
        return False

    def of_piece(piece: Index) -> list[int]:
        return [at for at in piece.tolist() if fails(at)]

    pieces = np.array_split(np.arange(len(images)), -(-len(images) // PIECE))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = pool.map(of_piece, pieces)
        silent = console is None
        for found in track(done, f"reading {what}", len(pieces), console=console, disable=silent):
            yield from found
