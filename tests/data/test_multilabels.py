"""Images of several classes: in tables, in Hugging Face's data sets, and from Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cl.data.sets import Images, Source, from_dataset, load
from cl.data.sets._sums import data_checksum
from tests.data.test_labeled import folder, rows, write

__all__ = ["folder"]  # a fixture
SETS = ["cat|dog", "", " ant | cat", "dog", "cat", "ant|dog|cat"] * 4
FILES = [f"{i}.png" for i in range(24)]
COLUMNS = ["ant", "cat", "dog"]
MARKS = [[int(c in {w.strip() for w in s.split("|")}) for c in COLUMNS] for s in SETS]
PARTS = ["train", "train", "train", "test"] * 6


def check(source: Source[Images], train: list[int], val: list[int]) -> None:
    """That the labels of both parts are those of these rows."""
    assert source.multilabel
    for images, expected in ((source.train, train), (source.val, val)):
        assert images.multilabels is not None
        assert images.multilabels.tolist() == [MARKS[i] for i in expected]
        assert (images.labels == -1).all()
        assert images.with_labels() is images


def test_a_table_of_labels_with_a_separator(folder: Path) -> None:
    write(folder / "a.csv", "path,label,split", FILES, SETS, PARTS)
    source = load("labeled:a.csv", str(folder), label_separator="|", labeled=True)
    assert source.classes == COLUMNS
    assert source.describe().endswith("3 classes, of which an image may have several")
    check(source, [i for i in range(24) if i % 4 < 3], [i for i in range(24) if i % 4 == 3])
    write(folder / "a.csv", "path,label", FILES[:20], SETS[:20])
    write(folder / "b.csv", "path,label", FILES[20:], SETS[20:])
    source = load("labeled:a.csv", str(folder), val_dir="b.csv", label_separator="|")
    check(source, [*range(20)], [*range(20, 24)])
    held = load("labeled:a.csv", str(folder), label_separator="|")
    assert held.split == "no parts: a tenth of the images is held out"
    before = data_checksum(source.train)
    assert source.train.multilabels is not None
    source.train.multilabels[0, 0] ^= 1
    assert data_checksum(source.train) != before


def test_a_table_with_a_column_for_each_class(folder: Path) -> None:
    columns = [[row[c] for row in MARKS] for c in range(3)]
    write(folder / "a.csv", "path,cat,dog,ant,split", FILES, *columns[1:], columns[0], PARTS)
    source = load("labeled:a.csv", str(folder), label_column="ant, cat,dog")
    assert source.classes == COLUMNS
    check(source, [i for i in range(24) if i % 4 < 3], [i for i in range(24) if i % 4 == 3])
    with pytest.raises(ValueError, match=r"--label_column elk: .* has the columns path, cat, dog"):
        load("labeled:a.csv", str(folder), label_column="ant,elk")
    write(folder / "a.csv", "path,cat,dog", FILES, columns[1], [*columns[2][:-1], ""])
    with pytest.raises(ValueError, match=r"--label_column dog: it has '', .* 0 or 1 on every line"):
        load("labeled:a.csv", str(folder), label_column="cat,dog")


def test_rows_of_hugging_faces(folder: Path) -> None:
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    words = [[w.strip() for w in s.split("|") if w.strip()] for s in SETS]
    made: Any = rows(library, folder, SETS)
    for c, name in enumerate(COLUMNS):
        made = made.add_column(name, [row[c] for row in MARKS])
    numbers = [[COLUMNS.index(w) for w in each] for each in words]
    made = made.add_column("labels", words).add_column("category", numbers)
    kinds = library.Features({"category": [library.ClassLabel(names=COLUMNS)]})
    made = made.cast_column("category", kinds["category"])
    parts = {"train": made.select(range(20)), "test": made.select(range(20, 24))}
    library.DatasetDict(parts).save_to_disk(folder / "set")
    for how in (
        {"label_column": "labels"},
        {"label_column": "category"},
        {"label_column": "ant,cat,dog"},
        {"label_column": "kind", "label_separator": "|"},
    ):
        source = load("huggingface:set", str(folder), **how)
        assert source.classes == COLUMNS
        check(source, [*range(20)], [*range(20, 24)])
    found = library.DatasetDict(
        {k: v.select_columns(["picture", "labels"]) for k, v in parts.items()}
    )
    found.save_to_disk(folder / "lists")
    check(load("huggingface:lists", str(folder)), [*range(20)], [*range(20, 24)])


def test_arrays_from_python() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
    source = from_dataset(pixels[:20], pixels[20:], labels=MARKS[:20], val_labels=MARKS[20:])
    check(source, [*range(20)], [*range(20, 24)])
    assert source.classes == ["0", "1", "2"]
    with pytest.raises(ValueError, match=r"labels of shape \(20, 3\) must be 0 or 1"):
        from_dataset(pixels[:20], labels=np.full((20, 3), 2))
