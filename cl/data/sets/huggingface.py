"""Data sets of Hugging Face's `datasets` in a folder: images left encoded, or texts.

The folder is what `save_to_disk` wrote, or has .parquet files as the hub does, called by their
splits; of these `datasets` makes a copy in its cache that can be mapped. Files of another name are
left out, unless no file's name says a split. Images are found by the
type of their column. Labels are the column of type ClassLabel, or else the one that is called label
(labels, class, category, target) and has whole numbers, words or lists. `--image_column` and
`--label_column` choose others. Texts are found by the names of columns: query (anchor, question),
positive (answer, document, passage) and what begins with negative; sentence1, sentence2 and score;
or text. Its dataset_info.json says which of both it has.
"""

import importlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cl.data.sets._columns import STRINGS, source_of_columns
from cl.data.sets._images import Images, Index, Stored, read_regular, size_and_time
from cl.data.sets._inside import file_inside
from cl.data.sets._labels import LABELS, class_numbers, columns_named, multi_hot
from cl.data.sets._source import Source, Where
from cl.data.sets._split import HOLD_OUT, split, split_sentence
from cl.data.sets._walk import VALIDATION, Walk, part_of_name
from cl.terminal import one_line

ROW = {
    "help": "what save_to_disk wrote, or .parquet files of the hub",
    "order": 91,
    "argument": "FOLDER",
    "image_files": True,
    "exif_orientation": True,
    "columns": True,
    "image_columns": True,
    "multilabel": True,
}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
FLOATS = ("float16", "float32", "float64")
PIECE = re.compile(r"-\d+-of-\d+$")  # what the hub puts behind the name of a split


@dataclass(frozen=True, eq=False)
class Rows(Stored):
    """Rows of a split; its file is mapped and not read into memory.

    Args:
        data: a `datasets.Dataset` of one column of undecoded images.
        column: its name.
        title: of the split, for messages.
        fingerprint: that the library gave the split; of .parquet files it is of their paths and
            times.
        folder: of the data set; a row without bytes names a file in it.
        sizes: bytes of the image in each row of the split, below 1 for a file's.
        index: the rows, `(n)`.
    """

    data: Any
    column: str
    title: str
    fingerprint: str
    folder: Path
    sizes: Index
    index: Index

    def __len__(self) -> int:
        return len(self.index)

    def read(self, at: int) -> bytes:
        found = self.data[int(self.index[at])][self.column]
        if not found or not (found["bytes"] or found["path"]):
            raise OSError("the row has none")
        if found["bytes"]:
            return found["bytes"]
        try:
            return read_regular(file_inside(found["path"], self.folder))
        except ValueError as error:  # as a file that is not there
            raise OSError(error) from None

    def name(self, at: int) -> str:
        return f"{self.title}, row {self.index[at]}"

    def cache_key(self, at: int) -> str:
        return f"{self.fingerprint} {self.index[at]}"

    def identity(self, at: int) -> str:
        """Row and size in bytes, of a row that names a file its name and size; no image is read."""
        row = int(self.index[at])
        size = int(self.sizes[row])
        found = self.data[row][self.column] if size < 1 else None
        if not found or not found["path"]:
            return f"row {row} {size}"
        try:
            path = file_inside(found["path"], self.folder)
        except ValueError:  # as where the image is read
            return f"row {row} {size}"
        return f"row {row} {path.parent.name}/{path.name} {size_and_time(str(path))[0]}"

    def subset(self, index: Index) -> "Rows":
        return replace(self, index=self.index[index])


def read(name: str, where: Where) -> Source[Any]:
    """The folder that `save_to_disk` wrote; its columns are found by their types, or names.

    Raises:
        ValueError: `datasets` is not installed; there is no such folder or not the columns.
    """
    try:
        library: Any = importlib.import_module("datasets")
    except ImportError:
        raise ValueError(f"DATASET {name}: needs the package datasets; pip install datasets") from (
            None
        )
    place = where.folder / name.partition(":")[2]
    try:
        tables, left = tables_in(place)
        found = (
            library.load_dataset("parquet", data_files=tables)
            if tables
            else library.load_from_disk(str(place))
        )
        parts = found if isinstance(found, library.DatasetDict) else {"train": found}
        for part in parts.values():
            part.data.table.validate(full=True)  # else a damaged offset ends the process
    except Exception as error:  # damaged bytes can raise anything
        known = OSError, ValueError, library.exceptions.DatasetsError
        said = one_line(error) if isinstance(error, known) else "it is damaged"
        raise ValueError(f"DATASET {name}: {place} holds no saved data set ({said})") from None
    if has_texts(library, [*parts.values()]):
        if tables:
            raise ValueError(f"DATASET {name}: of texts {place} must be what save_to_disk wrote")
        return source_of_columns(name, parts, str(place))
    called = {part_of_name(split): split for split in reversed(parts)}
    if "train" not in called:
        there = ", ".join([*parts, *left])
        raise ValueError(f"DATASET {name}: {place} has no split train, but {there}")
    title = f"DATASET {name}: {place}"
    names, train = read_split(library, parts[called["train"]], where, place, called["train"])
    note = columns_left(library, parts[called["train"]], where)
    second = next((called[part] for part in VALIDATION if part in called), None)
    others = sorted({*parts} - {called["train"], second})
    rows = {split: len(parts[split]) for split in others} | left
    more: dict[str, Any] = {
        "left_out": Walk(left_out=Counter({f"in {s}": n for s, n in rows.items()})).describe(),
        "named": bool(names),
        "note": note,
    }
    if second is None:
        classes, (train,) = (names, [train]) if names else numbered(title, train)
        train, val = split(train, HOLD_OUT)
        stratified = bool(classes) and train.multilabels is None
        how = f"no validation split: {split_sentence(HOLD_OUT, labeled=stratified)}"
        return Source(name, classes, train, val, held_out=HOLD_OUT, split=how, **more)
    names_there, val = read_split(library, parts[second], where, place, second, names)
    if names != names_there:
        raise ValueError(
            f"DATASET {name}: {second} has other classes, or another order, than train"
        )
    classes, (train, val) = (names, [train, val]) if names else numbered(title, train, val)
    return Source(name, classes, train, val, split=f"{second} validates", **more)


def has_texts(library: Any, tables: Sequence[Any]) -> bool:
    """Whether there are columns of texts and none of images."""
    features = [feature for table in tables for feature in table.features.values()]
    images = any(isinstance(feature, library.Image) for feature in features)
    return not images and any(getattr(f, "dtype", "") in STRINGS for f in features)


def numbered(title: str, train: Images, *others: Images) -> tuple[list[str], list[Images]]:
    """The classes whose numbers occur, and the parts with labels by their order.

    Args:
        title: of the data set, for messages.
        train: has all classes.
        others: parts that validate.

    Raises:
        ValueError: a class validates that does not train.
    """
    known = np.unique(train.labels[train.labels >= 0])
    if other := [c for part in others for c in np.setdiff1d(part.labels, known) if c >= 0]:
        raise ValueError(f"{title}: {len(other)} classes validate and do not train: {other[0]}")
    parts = [
        replace(part, labels=np.where(part.labels < 0, -1, np.searchsorted(known, part.labels)))
        for part in (train, *others)
    ]
    return [str(c) for c in known], parts


def tables_in(place: Path) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The .parquet files below a folder by their splits, and the rows of those of no split.

    Where no file says its split, all of them train.

    >>> tables_in(Path("nowhere"))
    ({}, {})
    """
    files = sorted(place.rglob("*.parquet")) if place.is_dir() else []
    named = any(map(split_of, files))
    found, left = dict[str, list[str]](), Counter[str]()
    for file in files:
        if split := split_of(file) if named else "train":
            found.setdefault(split, []).append(str(file))
        else:
            left[PIECE.sub("", file.stem)] += count_rows_in(file)
    return found, {**left}


def split_of(file: Path) -> str | None:
    """The split that a file's name begins or ends with, or that its folder is called by.

    >>> names = "train-00000-of-00002", "birds_test-0", "dev", "test_unseen", "extra"
    >>> [split_of(Path(f"data/{name}.parquet")) for name in names]
    ['train', 'test', 'dev', None, None]
    """
    first, whole = file.stem.partition("-")[0], PIECE.sub("", file.stem)
    ends = [part_of_name(whole[at.end() :]) for at in re.finditer("[_-]", whole)]
    named = [word for word in (first, file.parent.name) if part_of_name(word)]
    return next(filter(None, (first if first in named else None, *ends, *named)), None)


def count_rows_in(file: Path) -> int:
    """How many rows a .parquet file says that it has."""
    parquet: Any = importlib.import_module("pyarrow.parquet")  # comes with datasets
    return parquet.read_metadata(file).num_rows


def read_split(
    library: Any,
    data: Any,
    where: Where,
    place: Path,
    called: str,
    known: list[str] | None = None,
) -> tuple[list[str] | None, Images]:
    """Class names, of whole numbers none, and images of a split; labels of -1 without a column.

    Args:
        library: `datasets`.
        data: the split.
        where: with the names of columns.
        place: of the data set.
        called: the split's name.
        known: the classes of the training part, for labels that are words.

    Raises:
        ValueError: it is not clear which column is meant, or a class does not train.
    """
    title, features = f"{place} {called}", data.features
    for option in ("image_column", "label_column"):
        name = getattr(where, option)
        several = [name] if name in features else columns_named(name)
        if absent := [each for each in several if each not in features]:
            raise ValueError(
                f"--{option} {absent[0]}: {title} has the columns {', '.join(features)}"
            )
    image = where.image_column or the_only(
        [k for k, f in features.items() if isinstance(f, library.Image)], "type Image", title
    )
    label = where.label_column or label_column(library, data, title)
    names, labels, several = None, np.full(len(data), -1), None
    if label and (where.label_separator or label not in features or inner(features[label])):
        names, several = sets_of_labels(data, label, where.label_separator, title, known)
    elif label is not None and getattr(features[label], "dtype", "") in STRINGS:
        words = data[label][:]
        names = known or sorted({word for word in words if word})
        if other := sorted({word for word in words if word} - {*names}):
            raise ValueError(f"{title}: {len(other)} classes that do not train: {other[0]}")
        index = {name: number for number, name in enumerate(names)}
        labels = np.array([index.get(word, -1) for word in words], np.int64)
    elif label is not None:
        labels = whole_numbers(data[label][:], label, title)
        names = getattr(features[label], "names", None)
    encoded = data.select_columns([image]).cast_column(image, library.Image(decode=False))
    sizes, rows = encoded_sizes(encoded, image), np.arange(len(labels))
    files = Rows(encoded, image, title, data._fingerprint, place, sizes, rows)
    return list(names) if names else None, Images(labels, files=files, multilabels=several)


def whole_numbers(cells: Sequence[Any], label: str, title: str) -> Index:
    """The labels in a column of numbers, -1 for a cell without one; 3.0 is 3.

    Raises:
        ValueError: one is no whole number.
    """
    found = [-1 if cell is None or cell != cell else cell for cell in cells]  # NaN, as of pandas
    if other := [c for c in found if not (isinstance(c, int | float) and float(c).is_integer())]:
        raise ValueError(f"{title}: {label} has {other[0]!r}, no whole number and no word")
    return np.array(found).astype(np.int64)


def inner(feature: Any) -> Any:
    """What a column of lists has in its lists; None of another column."""
    return getattr(feature, "feature", None)


def sets_of_labels(
    data: Any, label: str, separator: str | None, title: str, known: list[str] | None
) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """The classes of images that may be of several, and `(n c)`, 1 for each class of an image.

    Args:
        data: the split.
        label: a column of lists or of texts, or several of 0 and 1, with commas between them.
        separator: between the labels in a text.
        title: of the split, for messages.
        known: the classes of the training part; none for the training part itself.

    Raises:
        ValueError: a column has something else, or a class does not train.
    """
    if label not in data.features:
        columns = columns_named(label)
        found = np.stack([np.asarray(data[column][:]) for column in columns], axis=1)
        if not np.isin(found, (0, 1)).all():
            raise ValueError(f"{title}: columns of classes must have 0 or 1 in every row")
        return columns, found.astype(np.uint8)
    kind = inner(data.features[label])
    cells: list[Any] = data[label][:]
    if any(cell is None for cell in cells):
        raise ValueError(f"{title}: a row of {label} has no list of labels")
    if kind is None:
        cells = [[w.strip() for w in str(c).split(separator or ",") if w.strip()] for c in cells]
    there = {each for cell in cells for each in cell}
    if names := getattr(kind, "names", None):
        return [*names], multi_hot(cells, len(names))
    classes, numbers = class_numbers(map(str, there if known is None else [*known]))
    if other := sorted({str(each) for each in there} - {*numbers}):
        raise ValueError(f"{title}: {len(other)} classes that do not train: {other[0]}")
    return classes, multi_hot([[numbers[str(each)] for each in c] for c in cells], len(classes))


def encoded_sizes(data: Any, column: str) -> Index:
    """Bytes of the undecoded images in a column, `(n)`, -1 without bytes; none of them is read."""
    compute: Any = importlib.import_module("pyarrow.compute")  # comes with datasets
    found = compute.struct_field(data.with_format("arrow")[:][column], "bytes")
    return compute.binary_length(found).fill_null(-1).to_numpy().astype(np.int64)


def label_column(library: Any, data: Any, title: str) -> str | None:
    """The column of labels: of type ClassLabel, or else one whose name says so, label before all.

    Raises:
        ValueError: there are several.
    """
    if kinds := [k for k, f in data.features.items() if isinstance(f, library.ClassLabel)]:
        return the_only(kinds, "type ClassLabel", title)
    named = [k for k in data.features if k.strip().lower() in LABELS and may_be_labels(data, k)]
    first = [k for k in named if k.strip().lower() == LABELS[0]]
    return the_only(first or named, "labels", title) if named else None


def may_be_labels(data: Any, column: str) -> bool:
    """Whether a column is of words, lists or whole numbers, in floats too."""
    feature = data.features[column]
    dtype = getattr(feature, "dtype", "")
    if dtype in FLOATS:
        return all(c is None or c != c or float(c).is_integer() for c in data[column][:])
    return dtype in INTEGERS or dtype in STRINGS or inner(feature) is not None


def columns_left(library: Any, data: Any, where: Where) -> str:
    """What is said of rows without a column of labels that have others; else it is empty."""
    others = [k for k, f in data.features.items() if not isinstance(f, library.Image)]
    if not others or where.label_column or label_column(library, data, ""):
        return ""
    return (
        "no column of labels (of type ClassLabel, or of whole numbers, words or lists and called "
        f"{', '.join(LABELS)}), but {', '.join(others)}; --label_column chooses one"
    )


def the_only(columns: list[str], kind: str, title: str) -> str:
    """The one column of a kind."""
    if len(columns) != 1:
        raise ValueError(
            f"{title}: needs one column of {kind}, has {len(columns)} "
            f"({', '.join(columns) or 'none'}); --image_column and --label_column choose"
        )
    return columns[0]
