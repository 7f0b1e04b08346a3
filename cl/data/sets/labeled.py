"""Image files with their labels in a table, a .csv or .tsv with a line of names above.

One column has paths (called path, image, file, filename, ..., or `--image_column`), which start at
the table's folder; one has labels (label, class, category, target, or `--label_column`): words, or
whole numbers; an empty one, or one below 0, means "unlabeled". A column called split, subset,
partition or part says what validates, or `--val_dir` names a second table.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cl.data.sets._images import Images, in_files
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._table import DELIMITERS, IMAGES, NAMED, column_called, files_named, table_in
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
NUMBER = re.compile(r"-?\d+")


def read(name: str, where: Where) -> Source[Images]:
    """The images of the table; without a validation part a tenth of every class is held out.

    Raises:
        ValueError: it is no such table, or its files are not there.
    """
    flag = f"DATASET {name}"
    files, labels, parts = read_rows(where.folder / name.partition(":")[2], where, flag)
    given = bool(where.val_dir)
    if where.val_dir:
        more = read_rows(where.folder / where.val_dir, where, f"--val_dir {where.val_dir}")
        if both := {*files} & {*more[0]}:
            raise ValueError(f"--val_dir: {len(both)} of its images train too: {min(both)}")
        parts = ["train"] * len(files) + ["val"] * len(more[0])
        files, labels = files + more[0], labels + more[1]
    return of_parts(name, files, labels, parts, "" if given else "its table says what validates")


def read_rows(
    file: Path, where: Where, flag: str
) -> tuple[list[Path], list[str], list[str | None]]:
    """The files of a table, their labels, and the parts they belong to.

    Raises:
        ValueError: it is no such table.
    """
    if not (file.is_file() and file.suffix.lower() in DELIMITERS):
        raise ValueError(f"{flag}: {file} must be a table, {' or '.join(DELIMITERS)}")
    table = table_in(file, flag)
    images, labels = where.image_column, where.label_column
    for option, column in (("--image_column", images), ("--label_column", labels)):
        if column is not None and column not in table:
            raise ValueError(f"{option} {column}: {file} has the columns {', '.join(table)}")
    images = images or column_called([*table], IMAGES, "paths", file, flag)
    labels = labels or column_called([*table], LABELS, "labels", file, flag)
    files = files_named(table[images], file, flag)
    if len(files) != len(table[images]):
        raise ValueError(f"{flag}: {file} has lines without a path in the column {images}")
    if len({*files}) != len(files):
        raise ValueError(f"{flag}: {file} has files twice; an image has one label")
    column = next((c for c in table if c.strip().lower() in PARTS), None)
    parts = [part_of_name(part.strip()) for part in table[column]] if column else []
    if None in parts:
        line = table[column or ""][parts.index(None)]
        raise ValueError(f"{flag}: {file} has a {column} called {line!r}, not train, val or test")
    return files, [label.strip() for label in table[labels]], parts


def of_parts(
    name: str,
    files: Sequence[Path],
    words: Sequence[str],
    parts: Sequence[str | None],
    how: str,
) -> Source[Images]:
    """The data set of files whose labels are words.

    Raises:
        ValueError: no image trains, or a class validates that does not train.
    """
    classes, words = in_words(words)
    index = {word: label for label, word in enumerate(classes)}
    images = in_files([*files], [index.get(word, -1) for word in words])
    if not parts:
        train, val = split(images, HOLD_OUT)
        said = split_sentence(HOLD_OUT, labeled=bool(classes))
        return Source(name, classes, train, val, held_out=HOLD_OUT, split=f"no parts: {said}")
    part = np.array(parts)
    second = next((p for p in VALIDATION if p in parts), None)
    if "train" not in parts or second is None:
        raise ValueError(f"DATASET {name}: its parts must be train and val (or test)")
    train, val = (images.subset(np.flatnonzero(part == p)) for p in ("train", second))
    unknown = sorted({*val.labels.tolist()} - {*train.labels.tolist()} - {-1})
    if unknown:
        some = ", ".join(classes[c] for c in unknown[:NAMED])
        raise ValueError(
            f"DATASET {name}: {len(unknown)} classes validate and do not train: {some}"
        )
    left = len(parts) - len(train) - len(val)
    return Source(
        name, classes, train, val, split=how, left_out=f"{left} of other parts" if left else ""
    )


def in_words(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The classes of labels in their order, that of numbers by size; and the labels by class.

    >>> in_words(["b", "a", "", "b"])
    (['a', 'b'], ['b', 'a', '', 'b'])
    >>> in_words(["10", "02", "-1", "2"])
    (['2', '10'], ['10', '2', '', '2'])
    """
    if not all(NUMBER.fullmatch(label) for label in labels if label):
        return sorted({*labels} - {""}), [*labels]
    numbers = [int(label or -1) for label in labels]
    words = ["" if n < 0 else str(n) for n in numbers]
    return [str(n) for n in sorted({n for n in numbers if n >= 0})], words
