"""Image files with their labels in a table, a .csv or .tsv with a line of names above.

One column has paths (called path, image, file, filename, ..., or `--image_column`), which start at
the table's folder; one has labels (label, class, category, target, or `--label_column`): words, or
whole numbers; an empty one, or one below 0, means "unlabeled". A column called split, subset,
partition or part says what validates, or `--val_dir` names a second table.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cl.data.sets._images import Images, in_files
from cl.data.sets._labels import Column, check_trained, class_numbers
from cl.data.sets._paths import PathArray, repeated
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._table import (
    DELIMITERS,
    IMAGES,
    column_called,
    column_in,
    columns_in,
    files_named,
)
from cl.data.sets._walk import VALIDATION, part_of_name

ROW = {
    "help": "a table of image files and their labels",
    "order": 87,
    "argument": "FILE",
    "val_dir": True,
    "image_files": True,
    "exif_orientation": True,
    "image_columns": True,
}
LABELS = ("label", "labels", "class", "category", "target")
PARTS = ("split", "subset", "partition", "part")


def read(name: str, where: Where) -> Source[Images]:
    """The images of the table; without a validation part a tenth of every class is held out.

    Raises:
        ValueError: it is no such table, or its files are not there.
    """
    flag = f"DATASET {name}"
    first = table_at(where.folder / name.partition(":")[2], where, flag)
    if not where.val_dir:
        return of_table(name, first)
    second = table_at(where.folder / where.val_dir, where, f"--val_dir {where.val_dir}")
    there = {*second.files.words()}
    if both := [word for word in first.files.words() if word in there]:
        raise ValueError(f"--val_dir: {len(both)} of its images train too: {min(both)}")
    classes, numbers = class_numbers([*first.labels.words, *second.labels.words])
    train, val = (in_files(t.files, t.labels.become(numbers)) for t in (first, second))
    return of_parts(name, classes, train, val, "")


class Table(NamedTuple):
    """What a table says.

    Args:
        files: the images.
        labels: their labels.
        parts: the parts that they belong to; None if no column says it.
    """

    files: PathArray
    labels: Column
    parts: Column | None


def table_at(file: Path, where: Where, flag: str) -> Table:
    """The files of a table, their labels, and the parts they belong to.

    Raises:
        ValueError: it is no such table.
    """
    if not (file.is_file() and file.suffix.lower() in DELIMITERS):
        raise ValueError(f"{flag}: {file} must be a table, {' or '.join(DELIMITERS)}")
    columns = columns_in(file, flag)
    images, labels = where.image_column, where.label_column
    for option, column in (("--image_column", images), ("--label_column", labels)):
        if column is not None and column not in columns:
            raise ValueError(f"{option} {column}: {file} has the columns {', '.join(columns)}")
    images = images or column_called(columns, IMAGES, "paths", file, flag)
    labels = labels or column_called(columns, LABELS, "labels", file, flag)
    known = Column.of(column_in(file, labels, flag))
    files = files_named(column_in(file, images, flag), file, flag)
    if len(files) != len(known.rows):
        raise ValueError(f"{flag}: {file} has lines without a path in the column {images}")
    if repeated(files):
        raise ValueError(f"{flag}: {file} has files twice; an image has one label")
    name = next((c for c in columns if c.strip().lower() in PARTS), None)
    parts = Column.of(column_in(file, name, flag)) if name else None
    if parts and (unknown := [word for word in parts.words if part_of_name(word) is None]):
        raise ValueError(
            f"{flag}: {file} has a {name} called {unknown[0]!r}, not train, val or test"
        )
    return Table(files, known, parts)


def of_table(name: str, table: Table) -> Source[Images]:
    """The data set of one table, whose column may say the parts.

    Raises:
        ValueError: no image trains or none validates, or a class validates that does not train.
    """
    classes, numbers = class_numbers(table.labels.words)
    images = in_files(table.files, table.labels.become(numbers))
    if table.parts is None:
        train, val = split(images, HOLD_OUT)
        said = split_sentence(HOLD_OUT, labeled=bool(classes))
        how = f"no parts: {said}"
        return Source(name, classes, train, val, held_out=HOLD_OUT, split=how)
    part = table.parts.become({word: part_of_name(word) for word in table.parts.words})
    second = next((p for p in VALIDATION if (part == p).any()), None)
    if second is None or not (part == "train").any():
        raise ValueError(f"DATASET {name}: its parts must be train and val (or test)")
    train, val = (images.subset(np.flatnonzero(part == p)) for p in ("train", second))
    left = len(part) - len(train) - len(val)
    how, others = "its table says what validates", f"{left} of other parts" if left else ""
    return of_parts(name, classes, train, val, how, others)


def of_parts(
    name: str, classes: list[str], train: Images, val: Images, how: str, left_out: str = ""
) -> Source[Images]:
    """The data set of two parts.

    Raises:
        ValueError: a class validates that does not train.
    """
    check_trained(name, classes, train.labels, val.labels)
    return Source(name, classes, train, val, split=how, left_out=left_out)
