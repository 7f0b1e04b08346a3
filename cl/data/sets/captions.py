"""Images with captions: `{"image": ..., "captions": [...]}` a line; images lie beside the file.

"image" is a path relative to the file; it leads into the file's folder or --data_folder.

A line may have a `split`: train, val or test. Lines of one image are one sample.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cl.data.sets._held_out import part_in, parts_of
from cl.data.sets._images import in_files
from cl.data.sets._inside import file_inside
from cl.data.sets._jsonl import json_lines, text_of
from cl.data.sets._source import Source, Where
from cl.data.sets._texts import Captioned

ROW = {
    "help": "images with captions, a JSON object a line, or .gz of it",
    "order": 87,
    "argument": "FILE",
    "kind": "image-text",
    # A crop that leaves out what the caption is about makes it wrong, a mirrored one its left and
    # right, a gray one its colors: almost all of the image, resized bicubically, and of a plain one
    # its whole shorter side, as in open_clip (transform.py of mlfoundations/open_clip).
    "recipe": {
        "crop_scale": (0.9, 1.0),
        "crop_interpolation": "bicubic",
        "flip": 0.0,
        "jitter": 0.0,
        "grayscale": 0.0,
        "blur": 0.0,
        "central": 1.0,
        "interpolation": "bicubic",
    },
    "exif_orientation": True,
}


def read(name: str, where: Where) -> Source[Captioned]:
    """The images of the file, a tenth of them held out where no line says what validates.

    Raises:
        ValueError: there is no such file, a line is wrong, or its image is absent.
    """
    flag, file = f"DATASET {name}", where.folder / name.partition(":")[2]
    captions = dict[Path, list[str]]()
    parts = dict[Path, str | None]()
    for place, row in json_lines(file, flag):
        path = image_of(row, [file.parent, where.folder], place)
        part = part_in(row, place)
        if parts.setdefault(path, part) != part:
            raise ValueError(f"{place}: {path} is in another split on a line before")
        captions.setdefault(path, []).extend(captions_of(row, place))
    if not captions:
        raise ValueError(f"{flag}: {file} has no images")
    images = replace(in_files([*captions]), decoding=where.decoding)
    whole = Captioned(images, [*captions.values()])
    train, val, how = parts_of([*parts.values()], np.arange(len(whole)))
    if not len(train):
        raise ValueError(f"{flag}: {file} has no training images")
    how = how.replace("documents", "images")
    return Source(name, [], whole.subset(train), whole.subset(val), split=how)


def image_of(row: dict[str, Any], folders: Sequence[Path], place: str) -> Path:
    """The image file of a line.

    Args:
        row: of the file.
        folders: that of the file, to which paths are relative, and others that hold images.
        place: for messages.

    Raises:
        ValueError: there is none, or it lies elsewhere.
    """
    name = text_of(row, "image", place)
    try:
        path = file_inside(name, *folders)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if not path.is_file():
        raise ValueError(f"{place}: there is no image {path}")
    return path


def captions_of(row: dict[str, Any], place: str) -> list[str]:
    """The captions of a line, at least one.

    Raises:
        ValueError: it has none, or something else.
    """
    captions = row.get("captions")
    if not isinstance(captions, list) or not captions:
        raise ValueError(f'{place}: "captions" must be a list of at least one text')
    return [text_of({"captions": text}, "captions", place) for text in captions]
