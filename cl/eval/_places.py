"""What lies in a place, for an encoder to embed: images of any kind, or the lines of a file."""

from pathlib import Path

import numpy as np
from rich.console import Console

from cl.data.distinct import distinct
from cl.data.loaders.texts import TextLoader
from cl.data.module import PlainLoader
from cl.data.sets import Images
from cl.data.sets._decode import suffixes_of
from cl.data.sets._jsonl import lines
from cl.data.sets._readable import unreadable
from cl.data.sets._walk import Walk
from cl.data.sets._without_labels import images_at
from cl.data.tokens import tokenize
from cl.eval._transform import TextTransform, Transform

JSON = {".json", ".jsonl", ".ndjson"}  # what lines of texts are not called


def loader_of(
    place: Path,
    transform: Transform | TextTransform,
    batch_size: int,
    workers: int,
    skip_corrupt: Console | None = None,
) -> tuple[PlainLoader | TextLoader, list[str], list[str]]:
    """A loader of all that lies in a place, a name for each sample, and what is left out.

    Of equal texts the loader has the first one alone.

    Args:
        place: see `images_at`; or, for an encoder of texts, a file with a text a line, or .gz.
        transform: the encoder's.
        batch_size: samples in a batch.
        workers: threads that decode images.
        skip_corrupt: leave the images out that cannot be decoded, and show the progress there.

    Raises:
        ValueError: nothing that the encoder takes lies there.
    """
    if isinstance(transform, TextTransform):
        if JSON & {*place.suffixes}:
            raise ValueError(f"PLACE: {place} is JSON, and is to have a text a line")
        texts = [text for _, text in lines(place, "PLACE")]
        if not texts:
            raise ValueError(f"PLACE: there is no text in {place}")
        each = distinct(texts)
        what = each.describe(f"texts of {place}")
        tokens = tokenize(each.texts, transform.tokenizer, transform.longest, what, "")
        loader = TextLoader([tokens], batch_size, by_length=True, places=each.first)
        return loader, texts, []
    walk = Walk(suffixes_of(transform.reads))
    images = images_at(place, walk, "PLACE", transform.reads)
    left = [walk.describe()] if walk.left_out else []
    if skip_corrupt is not None and images.files is not None:
        bad = [*unreadable(images, workers, "images", skip_corrupt)]
        if bad:
            first = f"{images.files.name(bad[0])} for one"
            left.append(f"left out: {len(bad):,} of {len(images):,} images cannot be read, {first}")
        images = images.subset(np.setdiff1d(np.arange(len(images)), bad))
        if not len(images):
            raise ValueError(f"PLACE: none of the {len(bad)} images of {place} can be read")
    loader = PlainLoader(images, transform.recipe, batch_size, workers)
    return loader, names_of(images, place), left


def names_of(images: Images, place: Path) -> list[str]:
    """The names of images: of files their paths, inside of a folder from there on; else numbers."""
    if images.files is None:
        return [str(at) for at in range(len(images))]
    names = [images.files.name(at) for at in range(len(images))]
    return [str(Path(name).relative_to(place)) for name in names] if place.is_dir() else names
