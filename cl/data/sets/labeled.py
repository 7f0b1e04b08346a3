"""Image files with their labels in a table, a .csv or .tsv with a line of names above.

One column has paths (called path, image, file, filename, ..., or `--image_column`), which start at
the table's folder; one has labels (label, class, category, target, or `--label_column`): words, or
whole numbers; an empty one, or one below 0, means "unlabeled". A column called split, subset,
partition or part says what validates, or `--val_dir` names a second table.

Where an image may be of several classes, `--label_separator` stands between its labels, or
`--label_column` names several columns, A,B,C, one a class, of 0 and 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cl.data.sets._images import Images, in_files
from cl.data.sets._labels import (
    LABELS,
    Column,
    check_trained,
    class_numbers,
    columns_named,
    multilabels_of,
)
from cl.data.sets._paths import PathArray, followed, repeated
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
    "multilabel": True,
}
MARKS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
PARTS = ("split", "subset", "partition", "part")


def read(name: str, where: Where) -> Source[Images]:
    """The images of the table; without a validation part a tenth of every class is held out.

    Raises:
        ValueError: it is no such table, or its files are not there.
    """
    flag = f"DATASET {name}"
    first = table_at(where.folder / name.partition(":")[2], where, flag)
    if not where.val_dir:
        return of_table(name, first, where.label_separator)
    second = table_at(where.folder / where.val_dir, where, f"--val_dir {where.val_dir}")
    there = {*followed(second.files.words())}
    if both := [word for word in followed(first.files.words()) if word in there]:
        raise ValueError(f"--val_dir: {len(both)} of its images train too: {min(both)}")
    classes, (train, val) = labeled_images([first, second], where.label_separator)
    return of_parts(name, classes, train, val, "")


class Table(NamedTuple):
    """What a table says.

    Args:
        files: the images.
        labels: the columns of their labels by name, one, or one for each class.
        parts: the parts that they belong to; None if no column says it.
    """

    files: PathArray
    labels: dict[str, Column]
    parts: Column | None


def table_at(file: Path, where: Where, flag: str) -> Table:
    """The files of a table, their labels, and the parts they belong to.

    Raises:
        ValueError: it is no such table.
    """
    if not file.exists():
        raise ValueError(f"{flag}: there is no {file}")
    if not (file.is_file() and file.suffix.lower() in DELIMITERS):
        raise ValueError(f"{flag}: {file} must be a table, {' or '.join(DELIMITERS)}")
    columns = columns_in(file, flag)
    images, labels = where.image_column, where.label_column
    several = [labels] if labels in columns else columns_named(labels)
    for option, named in (("--image_column", [images]), ("--label_column", several)):
        if absent := [column for column in named if column and column not in columns]:
            raise ValueError(f"{option} {absent[0]}: {file} has the columns {', '.join(columns)}")
    images = images or column_called(columns, IMAGES, "paths", file, flag)
    several = several or [column_called(columns, LABELS, "labels", file, flag)]
    known = {column: Column.of(column_in(file, column, flag)) for column in several}
    files = files_named(column_in(file, images, flag), file, flag)
    if len(files) != len(known[several[0]].rows):
        raise ValueError(f"{flag}: {file} has lines without a path in the column {images}")
    if twice := repeated(files):
        raise ValueError(f"{flag}: {file} has files twice, as {twice[0]}; an image has one label")
    name = next((c for c in columns if c.strip().lower() in PARTS), None)
    parts = Column.of(column_in(file, name, flag)) if name else None
    if parts and (unknown := [word for word in parts.words if part_of_name(word) is None]):
        raise ValueError(
            f"{flag}: {file} has a {name} called {unknown[0]!r}, not train, val or test"
        )
    return Table(files, known, parts)


def labeled_images(
    tables: Sequence[Table], separator: str | None
) -> tuple[list[str], list[Images]]:
    """The classes, and the images of each table.

    Args:
        tables: with the same columns.
        separator: between the labels of an image that may have several.

    Raises:
        ValueError: a class's column has something else than 0 and 1.
    """
    classes, first = [*tables[0].labels], [next(iter(t.labels.values())) for t in tables]
    if len(classes) > 1:
        several = [zeros_and_ones(table.labels) for table in tables]
    elif separator:
        classes, several = multilabels_of(first, separator)
    else:
        classes, numbers = class_numbers(word for labels in first for word in labels.words)
        pairs = zip(tables, first, strict=True)
        return classes, [in_files(t.files, labels.become(numbers)) for t, labels in pairs]
    parts = zip(tables, several, strict=True)
    return classes, [replace(in_files(t.files), multilabels=each) for t, each in parts]


def zeros_and_ones(columns: Mapping[str, Column]) -> npt.NDArray[np.uint8]:
    """Columns of 0 and 1, a class each, as one array `(n c)`.

    Raises:
        ValueError: one has something else.
    """
    for name, column in columns.items():
        if other := [word for word in column.words if word.lower() not in MARKS]:
            raise ValueError(
                f"--label_column {name}: it has {other[0]!r}, and the column of a class must have "
                "0 or 1 on every line"
            )
    found = [
        column.become({w: MARKS[w.lower()] for w in column.words}) for column in columns.values()
    ]
    return np.stack(found, axis=1).astype(np.uint8)


def of_table(name: str, table: Table, separator: str | None) -> Source[Images]:
    """The data set of one table, whose column may say the parts.

    Raises:
        ValueError: no image trains or none validates, or a class validates that does not train.
    """
    classes, (images,) = labeled_images([table], separator)
    if table.parts is None:
        train, val = split(images, HOLD_OUT)
        said = split_sentence(HOLD_OUT, labeled=bool(classes) and images.multilabels is None)
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
