"""Images and labels in tables: .csv, .tsv, and what Hugging Face's `datasets` reads."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl.config import parse_pretrain
from cl.config.store import ConfigError
from cl.data.sets import Images, Source, load

WORDS = ["cat", "", "dog", "cat", "dog", "ant"] * 4
PARTS = ["train", "val", "train", "val"] * 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(24):
        pixels = np.arange(64, dtype=np.uint8) * 4
        pixels[0] = 10 * i
        Image.fromarray(pixels.reshape(8, 8)).save(tmp_path / f"{i}.png")
    return tmp_path


def write(file: Path, header: str, *columns: list[Any], between: str = ",") -> None:
    lines = [between.join(map(str, row)) for row in zip(*columns, strict=True)]
    file.write_text("\n".join([header, *lines]))


def shown(source: Source[Images]) -> dict[int, str]:
    """The label of every image in a word, by the gray level that says which image it is."""
    found = {}
    for part in (source.train, source.val):
        assert part.files is not None
        for at, label in enumerate(part.labels):
            level = np.asarray(Image.open(io.BytesIO(part.files.read(at)))).flat[0]
            found[int(level) // 10] = source.classes[label] if label >= 0 else ""
    return found


@pytest.mark.parametrize(("name", "between"), [("a.csv", ","), ("a.tsv", "\t")])
def test_labels_are_words(folder: Path, name: str, between: str) -> None:
    files = [f"{i}.png" for i in range(24)]
    header = between.join(("Label", "Path", "note"))
    write(folder / name, header, WORDS, files, [0] * 24, between=between)
    source = load(f"labeled:{name}", str(folder))
    assert source.classes == ["ant", "cat", "dog"]
    assert shown(source) == dict(enumerate(WORDS))
    assert source.held_out


def test_labels_are_numbers_and_a_column_says_the_parts(folder: Path) -> None:
    labels = [10, 2, -1, 2] * 5 + ["02", 10, "", 2]
    write(folder / "a.csv", "y,x,split", labels, [f"{i}.png" for i in range(24)], PARTS)
    with pytest.raises(ValueError, match=r"one column of paths .* it has y, x, split"):
        load("labeled:a.csv", str(folder))
    source = load("labeled:a.csv", str(folder), image_column="x", label_column="y")
    assert source.classes == ["2", "10"]
    assert shown(source) == dict(enumerate(["10", "2", "", "2"] * 5 + ["2", "10", "", "2"]))
    assert len(source.train) == len(source.val) == 12


def test_a_second_table_validates(folder: Path) -> None:
    names = [f"{i}.png" for i in range(24)]
    write(folder / "a.csv", "image,class", names[:20], WORDS[:20])
    write(folder / "b.csv", "image,class", names[20:], ["dog", "cat", "", "ant"])
    source = load("labeled:a.csv", str(folder), val_dir="b.csv")
    assert shown(source) == dict(enumerate([*WORDS[:20], "dog", "cat", "", "ant"]))
    (folder / "sub").mkdir()
    (folder / "again").symlink_to(folder)
    for file, up in (
        ("b.csv", ""),
        ("sub/b.csv", "../"),
        ("b.csv", f"{folder}/"),
        ("b.csv", "again/"),
    ):
        write(folder / file, "image,class", [up + n for n in names[19:21]], ["dog", "cat"])
        with pytest.raises(ValueError, match=r"1 of its images train too: .*19\.png"):
            load("labeled:a.csv", str(folder), val_dir=file)


def test_numbers_in_a_column_with_gaps(folder: Path) -> None:
    """As pandas writes them."""
    labels = ["10.0", "", "-1.0", "2.0"] * 6
    write(folder / "a.csv", "path,label", [f"{i}.png" for i in range(24)], labels)
    source = load("labeled:a.csv", str(folder))
    assert source.classes == ["2", "10"]
    assert shown(source) == dict(enumerate(["10", "", "", "2"] * 6))


WRONG = {
    r"there is no .*a\.csv": None,
    "must name one column of paths": "a,b\n1.png,2",
    "must name one column of labels": "path,b\n1.png,2",
    r"1 of the 2 files of .* are not there: .*99\.png": "path,label\n1.png,2\n99.png,1",
    "has lines without a path in the column path": "path,label\n1.png,2\n,1",
    "has files twice": "path,label\n1.png,2\n1.png,1",
    "has files twice, as ": "path,label\n1.png,2\n../{here}/1.png,1",
    "has a split called 'holdout', not train, val or test": "path,label,split\n1.png,2,holdout",
    r"line 2 of .* has more values than its 2 columns": "path,label\n1.png,2,3",
    "its parts must be train and val": "path,label,split\n1.png,2,train",
    "1 classes validate and do not train: b": "path,label,split\n1.png,a,train\n2.png,b,val",
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_in_a_table_is_said(folder: Path, message: str) -> None:
    if content := WRONG[message]:
        (folder / "a.csv").write_text(content.replace("{here}", folder.name))
    with pytest.raises(ValueError, match=f"DATASET labeled:a.csv: .*{message}"):
        load("labeled:a.csv", str(folder))


def test_columns_are_of_tables_alone() -> None:
    with pytest.raises(ConfigError, match="--label_column"):
        parse_pretrain(["digits", "resnet6_w8", "--label_column", "x"])


def rows(library: Any, folder: Path, labels: list[Any]) -> Any:
    files = [(folder / f"{i}.png").read_bytes() for i in range(len(labels))]
    images = [{"bytes": content, "path": None} for content in files]
    features = library.Features({"picture": library.Image(), "kind": library.Value("string")})
    return library.Dataset.from_dict({"picture": images, "kind": labels}, features=features)


@pytest.mark.parametrize("parquet", [False, True])
def test_rows_of_hugging_faces_with_labels_in_words(
    folder: Path, parquet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", folder / "cache")
    parts = library.DatasetDict(train=rows(library, folder, WORDS[:20]))
    (folder / "set" / "data").mkdir(parents=True)
    if parquet:
        parts["train"].to_parquet(folder / "set" / "data" / "train-00000-of-00001.parquet")
    else:
        parts.save_to_disk(folder / "set")
    source = load("huggingface:set", str(folder), label_column="kind")
    assert source.classes == ["ant", "cat", "dog"]
    assert shown(source) == dict(enumerate(WORDS[:20]))
    with pytest.raises(ValueError, match=r"--label_column sort: .* has the columns picture, kind"):
        load("huggingface:set", str(folder), label_column="sort")
