"""Images that are not files of their own: tar shards, Hugging Face's rows, torchvision's sets."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import sys
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from PIL import Image

from cl.data.augment.recipe import Recipe
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader
from cl.data.sets import Images, Source, Stored, _map_style, load
from cl.data.sets._decode import UnreadableError, decode
from tests.data.made import picture

ALL = torchvision.datasets.__all__


def encoded(seed: int, kind: str = "PNG") -> bytes:
    made = io.BytesIO()
    Image.fromarray(picture(12, 16, seed)).save(made, kind)
    return made.getvalue()


def promises(source: Source) -> None:
    """What every kind of storage promises."""
    seen = set()
    for images in (source.train, source.val):
        files = images.files
        assert isinstance(files, Stored)
        assert len(files) == len(images)
        keys = [files.cache_key(i) for i in range(len(files))]
        assert len({*keys}) == len(files)
        assert keys == [files.cache_key(i) for i in range(len(files))]
        assert not seen & {*keys}
        seen |= {*keys}
        assert len({files.name(i) for i in range(len(files))}) == len(files)
        some = images.subset(np.array([len(images) - 1, 0]))
        copy: Images = pickle.loads(pickle.dumps(some))
        assert copy.files is not None
        for part in (some, copy):
            assert part.labels.tolist() == [images.labels[-1], images.labels[0]]
            for at, original in ((0, len(images) - 1), (1, 0)):
                assert np.array_equal(part.pixel(at), images.pixel(original))
        assert copy.files.cache_key(0) == keys[-1]
        assert np.array_equal(decode(files.read(0), ""), images.pixel(0))
    loader = FileLoader(source.train, [Recipe(size=8)], Sampler(len(source.train), 2, 0), 1)
    labels = {int(i): int(c) for b in loader for i, c in zip(b.index, b.labels, strict=True)}
    assert labels == {i: int(source.train.labels[i]) for i in labels}


def marks(source: Source) -> list[str]:
    """What every image is wherever the data set lies."""
    parts = [images.files for images in (source.train, source.val)]
    return [files.identity(i) for files in parts if files is not None for i in range(len(files))]


def write_shard(path: Path, members: Mapping[str, bytes], mode: str = "w:") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_shards(folder: Path) -> None:
    """Two for training, of 10 images each, and one for validation with labels in JSON."""
    for shard in range(2):
        made: dict[str, bytes] = {}
        for i in range(10):
            made[f"dir/{i:03}.a.txt"] = b"a caption"
            made[f"dir/{i:03}.cls"] = b"%d\n" % (i % 2)
            made[f"dir/{i:03}.png"] = encoded(10 * shard + i)
        write_shard(folder / f"train-{shard:02}.tar", made)
    write_shard(
        folder / "val.tar",
        {"a.left.png": encoded(50), "a.json": json.dumps({"label": 1, "x": 1}).encode()}
        | {"b.JPEG": encoded(51, "JPEG"), "b.json": b'{"label": 0}'},
    )


def test_webdataset(tmp_path: Path) -> None:
    write_shards(tmp_path)
    source = load("webdataset:train-{00..01}.tar", str(tmp_path), None, "val.tar")
    assert source.classes == ["0", "1"]
    assert (source.train.labels.tolist(), source.val.labels.tolist()) == ([0, 1] * 10, [1, 0])
    for i in range(20):
        assert np.array_equal(source.train.pixel(i), picture(12, 16, i))
    assert source.train.files is not None
    assert source.train.files.name(13) == f"{tmp_path}/train-01.tar: dir/003.png"
    promises(source)
    words = "webdataset:train-{00..01}.tar", None, "val.tar"
    moved = load(words[0], str(shutil.copytree(tmp_path, tmp_path / "moved")), *words[1:])
    assert marks(moved) == marks(source)
    made = {"a.left.png": encoded(52), "a.cls": b"1", "b.JPEG": encoded(51, "JPEG"), "b.cls": b"0"}
    write_shard(tmp_path / "moved" / "val.tar", made)
    changed = load(words[0], str(tmp_path / "moved"), *words[1:])
    differ = [a != b for a, b in zip(marks(changed), marks(source), strict=True)]
    assert differ == [*[False] * 20, True, False]
    held = load("webdataset:train-{00..01}.tar", str(tmp_path))
    assert (len(held.train), len(held.val)) == (18, 2)
    assert "--val_dir" in held.split
    promises(held)
    write_shard(tmp_path / "val.tar", {"a.png": encoded(52), "a.cls": b"2"})
    with pytest.raises(ValueError, match="1 classes validate and do not train: 2"):
        load(words[0], str(tmp_path), *words[1:])


WRONG_SHARDS = {
    "1 of 2 images have neither": {"a.png": encoded(0), "b.png": encoded(1), "b.cls": b"0"},
    "a.cls holds no label": {"a.png": encoded(0), "a.cls": b"a caption" * 30},
    'nor a .json with "label", .*a.png': {"a.png": encoded(0), "a.json": b"{}"}
    | {"b.png": encoded(1), "b.cls": b"0"},
    "a.json holds no label": {"a.png": encoded(0), "a.json": b"[1]"},
    "it is no whole number of 32 bits": {"a.png": encoded(0), "a.cls": b"100000000000000000000"},
    "a label of 7 among 2 images": {"a.png": encoded(0), "a.cls": b"7", "b.png": encoded(1)}
    | {"b.cls": b"0"},
    "a has the images png, jpg; --image_column chooses": {"a.png": encoded(0), "a.jpg": encoded(0)},
    "the same shard": None,
    "no images in 1 shards": {"a.cls": b"1"},
}


@pytest.mark.parametrize("message", WRONG_SHARDS)
def test_wrong_shards_are_named(tmp_path: Path, message: str) -> None:
    made = WRONG_SHARDS[message]
    write_shard(tmp_path / "a.tar", made or {})
    with pytest.raises(ValueError, match=message):
        load("webdataset:a.tar" if made else "webdataset:{a,a}.tar", str(tmp_path))


NAMES = {
    "train-??.tar": "",
    "{train-00,train-01}.tar": "",
    "all.txt": "train-*.tar",
    "sub/all.txt": "../train-00.tar\n\n../train-{01..01}.tar\n",
}


@pytest.mark.parametrize("name", NAMES)
def test_patterns_and_lists_of_shards(tmp_path: Path, name: str) -> None:
    write_shards(tmp_path)
    if NAMES[name]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(NAMES[name])
    source = load(f"webdataset:{name}", str(tmp_path), None, "v*.tar")
    assert (len(source.train), len(source.val)) == (20, 2)
    assert all(np.array_equal(source.train.pixel(i), picture(12, 16, i)) for i in (0, 11))
    with pytest.raises(ValueError, match=rf"no shard {tmp_path}; .*\*\.tar would be all in it"):
        load("webdataset:.", str(tmp_path))
    with pytest.raises(ValueError, match=r"no shard .*x-\*\.tar$"):
        load("webdataset:{train,x}-*.tar", str(tmp_path))


def test_gzipped_shards_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "plain").mkdir()
    write_shards(tmp_path / "plain")
    plain = load("webdataset:train-{00..01}.tar", str(tmp_path / "plain"))
    for i in range(2):
        whole = (tmp_path / "plain" / f"train-0{i}.tar").read_bytes()
        (tmp_path / f"train-0{i}.tar").write_bytes(gzip.compress(whole) if i else whole)
    copies = []
    for _ in range(2):
        source = load("webdataset:train-{00..01}.tar", str(tmp_path))
        assert marks(source) == marks(plain)
        assert "1 gzipped shards are unpacked in" in source.note
        (copy,) = (tmp_path / "cache" / "cl" / "unpacked").iterdir()
        copies.append(copy.stat().st_mtime_ns)
    assert copies[0] == copies[1]
    promises(source)
    (tmp_path / "train-01.tar").write_bytes(gzip.compress(whole)[:-400])
    with pytest.raises(ValueError, match=r"train-01\.tar is no whole gzip file"):
        load("webdataset:train-{00..01}.tar", str(tmp_path))


LABELS: dict[str | None, list[bytes]] = {
    None: [b"cat", b"7", b"dog\n"],  # numbers beside words are words
    "txt": [b"a photo", b"cat", b"a photo"],
    "species": [b'{"species": "cat"}', b'{"species": 7, "label": 1}', b'{"species": "dog"}'],
}


@pytest.mark.parametrize("column", LABELS)
def test_labels_of_shards_are_words(tmp_path: Path, column: str | None) -> None:
    kind = {"txt": "txt", "species": "json"}.get(column or "", "cls")
    made = {f"{i}.{kind}": text for i, text in enumerate(LABELS[column])}
    images = {
        f"{i}.{side}.png": encoded(10 * i + j) for i in range(3) for j, side in enumerate("lr")
    }
    write_shard(tmp_path / "a.tar", made | images)
    write_shard(tmp_path / "b.tar", {f"0.{kind}": made[f"0.{kind}"], "0.r.png": encoded(50)})
    how = {"image_column": "r.png", "label_column": column}
    source = load("webdataset:a.tar", str(tmp_path), None, "b.tar", **how)
    assert source.named
    assert source.left_out.startswith("left out: 3 .l.png")
    assert np.array_equal(source.train.pixel(2), picture(12, 16, 21))
    found = [source.classes[c] for c in source.train.labels]
    assert found == {None: ["cat", "7", "dog"], "txt": ["a photo", "cat", "a photo"]}.get(
        column, ["cat", "7", "dog"]
    )
    with pytest.raises(ValueError, match=r"0 has the images l\.png, r\.png; --image_column"):
        load("webdataset:a.tar", str(tmp_path), label_column=column)
    write_shard(
        tmp_path / "b.tar",
        {"0.cls": b"elk", "0.txt": b"elk", "0.r.png": encoded(50)}
        | {"0.json": b'{"species": "elk"}'},
    )
    with pytest.raises(ValueError, match="1 classes validate and do not train: elk"):
        load("webdataset:a.tar", str(tmp_path), None, "b.tar", **how)


def test_shards_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"DATASET webdataset:a.tar: no shard .*a\.tar"):
        load("webdataset:a.tar", str(tmp_path))
    write_shards(tmp_path)
    with pytest.raises(ValueError, match=r"--val_dir v\.tar: no shard"):
        load("webdataset:train-00.tar", str(tmp_path), None, "v.tar")
    whole = (tmp_path / "train-00.tar").read_bytes()
    for content in (whole[:9000], b"text", b""):
        (tmp_path / "train-00.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"train-00.tar is no whole tar file"):
            load("webdataset:train-00.tar", str(tmp_path))


DAMAGED = {
    r"the header at byte 10,240 is damaged or cut": lambda tar: tar[:10243] + b"?" + tar[10244:],
    "the header at byte 10,240 is damaged or cut ": lambda tar: tar[:10340],  # in the header
    "it is cut behind a member": lambda tar: tar[:10240],
    r"something follows its end mark; .* tar --concatenate": lambda tar: tar + tar,
}


@pytest.mark.parametrize("message", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_no_part_of_a_shard_is_left_out(
    tmp_path: Path, message: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    members = {f"{i}.{kind}": b"%d" % (i % 2) for i in range(10) for kind in ("png", "cls")}
    write_shard(tmp_path / "a.tar", members)
    whole = (tmp_path / "a.tar").read_bytes()  # 1 KiB a member
    for zeros in (b"", bytes(10240)):  # as some writers leave them
        (tmp_path / "a.tar").write_bytes(whole + zeros)
        source = load("webdataset:a.tar", str(tmp_path))
        assert len(source.train) + len(source.val) == 10
    content = DAMAGED[message](whole)
    (tmp_path / "a.tar").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=rf"a\.tar is no whole tar file: {message.strip()}"):
        load("webdataset:a.tar", str(tmp_path))


def test_a_damaged_member_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "a.tar",
        {f"{i}.png": encoded(i)[: 60 if i == 3 else None] for i in range(20)}
        | {f"{i}.cls": b"0" for i in range(20)},
    )
    write_shard(tmp_path / "b.tar", {"0.png": encoded(20), "0.cls": b"0"})
    with pytest.raises(UnreadableError, match=r"a\.tar: 3\.png cannot be read as an image"):
        load("webdataset:a.tar", str(tmp_path), None, "b.tar").train.pixel(3)
    with pytest.warns(UserWarning, match="^1 of 20 images"):
        source = load("webdataset:a.tar", str(tmp_path), skip_corrupt=True)
    assert source.skipped == (f"{tmp_path}/a.tar: 3.png",)


def test_huggingface_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="huggingface:a: needs the package datasets; pip install"):
        load("huggingface:a", "")


def write_rows(folder: Path, named: bool) -> None:
    """Three splits as `both`, one alone as `one`, and one without labels as `no`."""
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    label = library.ClassLabel(names=["cat", "dog"]) if named else library.Value("int64")
    called = "y" if named else "label"
    features = library.Features({called: label, "x": library.Image()})

    def part(first: int, number: int) -> Any:
        numbers = range(first, first + number)
        column = [{"bytes": encoded(i), "path": None} for i in numbers]
        return library.Dataset.from_dict({called: [i % 2 for i in numbers], "x": column}, features)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making one, the library pickles more than it can
        made = {"train": part(0, 10), "test": part(20, 3), "validation": part(30, 4)}
        library.DatasetDict(made).save_to_disk(str(folder / "both"))
        made["train"].save_to_disk(str(folder / "one"))
        made["train"].remove_columns(called).save_to_disk(str(folder / "no"))


@pytest.mark.parametrize("named", [True, False])
def test_huggingface(tmp_path: Path, named: bool) -> None:
    write_rows(tmp_path, named)
    source = load("huggingface:both", str(tmp_path))
    assert source.classes == (["cat", "dog"] if named else ["0", "1"])
    assert (len(source.train), len(source.val)) == (10, 4)
    assert source.split == "validation validates"
    assert source.left_out == "left out: 3 in test"
    assert all(np.array_equal(source.train.pixel(i), picture(12, 16, i)) for i in range(10))
    promises(source)
    shutil.copytree(tmp_path / "both", tmp_path / "moved" / "both")
    assert marks(load("huggingface:both", str(tmp_path / "moved"))) == marks(source)
    held = load("huggingface:one", str(tmp_path))
    assert (len(held.train), len(held.val)) == (8, 2)
    promises(held)
    assert load("huggingface:no", str(tmp_path)).describe() == "9 train / 1 val (10 %), no labels"
    with pytest.raises(ValueError, match=r"huggingface:nowhere: .* holds no saved data set"):
        load("huggingface:nowhere", str(tmp_path))


def saved(folder: Path, **columns: list[Any]) -> Any:
    """Ten images with other columns, as a data set of the library that lies in the folder."""
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    images = [{"bytes": encoded(i), "path": None} for i in range(10)]
    made = library.Dataset.from_dict({"x": images, **columns})
    made = made.cast_column("x", library.Image())
    made.save_to_disk(str(folder / "set"))
    return made


def test_numbers_are_labels_by_their_columns_name(tmp_path: Path) -> None:
    numbers = [i // 5 for i in range(10)]
    saved(tmp_path, image_id=numbers)
    said = load("huggingface:set", str(tmp_path)).describe()
    assert said.startswith("9 train / 1 val (10 %), no labels; no column of labels (of type Class")
    assert said.endswith("but image_id; --label_column chooses one")
    source = load("huggingface:set", str(tmp_path), label_column="image_id")
    assert (source.classes, source.note) == (["0", "1"], "")
    score = [None, float("nan"), *map(float, numbers[2:])]
    saved(tmp_path / "0", score=score)
    source = load("huggingface:set", str(tmp_path / "0"), label_column="score")
    assert source.classes == ["0", "1"]
    assert sum((part.labels < 0).sum() for part in (source.train, source.val)) == 2
    saved(tmp_path / "1", label=[n + 0.5 for n in numbers])
    assert not load("huggingface:set", str(tmp_path / "1")).classes
    with pytest.raises(ValueError, match=r"label has 0\.5, no whole number and no word"):
        load("huggingface:set", str(tmp_path / "1"), label_column="label")
    words = ["a", "b"] * 5
    saved(tmp_path / "2", width=numbers, Label=[2 * n for n in numbers], category=words)
    source = load("huggingface:set", str(tmp_path / "2"))
    assert (source.classes, source.note) == (["0", "2"], "")  # those that occur
    saved(tmp_path / "4", label=[20240000000.0 + n for n in numbers], image_id=numbers)
    source = load("huggingface:set", str(tmp_path / "4"))
    assert (source.classes, source.note) == (["20240000000", "20240000001"], "")
    assert {*source.train.labels.tolist()} == {0, 1}
    saved(tmp_path / "3", category=words, labels=numbers)
    with pytest.raises(ValueError, match=r"needs one column of labels, has 2 \(category, labels\)"):
        load("huggingface:set", str(tmp_path / "3"))


def test_a_number_that_validates_must_train(tmp_path: Path) -> None:
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    parts = {
        part: saved(tmp_path / part, label=[3, first] * 5)
        for part, first in (("train", 5), ("test", 4))
    }
    library.DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(ValueError, match="1 classes validate and do not train: 4"):
        load("huggingface:both", str(tmp_path))
    parts["test"] = saved(tmp_path / "other", label=[5, -1] * 5)
    library.DatasetDict(parts).save_to_disk(str(tmp_path / "fit"))
    source = load("huggingface:fit", str(tmp_path))
    assert source.classes == ["3", "5"]
    assert source.train.labels.tolist() == [0, 1] * 5
    assert source.val.labels.tolist() == [1, -1] * 5


def test_parquet_is_the_same_data_set_wherever_and_whenever_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = saved(tmp_path, label=[i % 2 for i in range(10)])
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "train-00000-of-00001.parquet"
        made.to_parquet(file)
        os.utime(file, (len(found), len(found)))
        found.append(marks(load(f"huggingface:{folder}", str(tmp_path))))
    assert found[0] == found[1]
    assert len({*found[0]}) == 10
    assert found[0] == marks(load("huggingface:set", str(tmp_path)))  # as save_to_disk wrote it
    images = [{"bytes": encoded(i), "path": None} for i in (*range(9), 50)]
    made.remove_columns("x").add_column("x", images).cast_column("x", library.Image()).to_parquet(
        file
    )
    now = marks(load("huggingface:b", str(tmp_path)))
    assert sum(a != b for a, b in zip(now, found[0], strict=True)) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"train-00000-of-00001": 4, "val-0": 2, "test_unseen-00000-of-00001": 3, "extra-0": 3},
            "4 train / 2 val (val validates), 2 classes; left out: 3 in extra-0, 3 in test_unseen",
        ),
        ({"train-0": 4, "dev-0": 2}, "4 train / 2 val (dev validates), 2 classes"),
        ({"birds_train": 4, "birds_test": 2}, "4 train / 2 val (test validates), 2 classes"),
        (
            {"0000": 10, "0001": 10},
            "18 train / 2 val (10 %, stratified), 2 classes",
        ),
    ],
)
def test_parquet_files_train_by_their_names(
    files: dict[str, int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = saved(tmp_path, label=[i % 2 for i in range(10)])
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, rows in files.items():
        made.select(range(rows)).to_parquet(tmp_path / "hub" / "data" / f"{name}.parquet")
    assert load("huggingface:hub", str(tmp_path)).describe() == said


def write_mnist(folder: Path) -> np.ndarray:
    """torchvision's raw layout of 8 and 4 images."""
    made = np.random.default_rng(0).integers(0, 256, (12, 28, 28)).astype(np.uint8)
    folder.mkdir(parents=True)
    for name, x in (("train", made[:8]), ("t10k", made[8:])):
        y = np.arange(len(x), dtype=np.uint8) % 10
        head = struct.pack(">4I", 2051, len(x), 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + x.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, len(y)) + y.tobytes()
        )
    return made


def test_a_gray_set_of_torchvision_is_held_in_memory(tmp_path: Path) -> None:
    made = write_mnist(tmp_path / "FashionMNIST" / "raw")
    source = load("torchvision:FashionMNIST", str(tmp_path))
    assert source.train.pixels is not None
    assert source.val.pixels is not None
    assert source.train.pixels.shape == (8, 28, 28, 3)
    assert np.array_equal(source.train.pixels, np.repeat(made[:8, ..., None], 3, 3))
    assert np.array_equal(source.val.pixels[..., 1], made[8:])
    assert source.train.labels.tolist() == list(range(8))
    assert source.classes[-1] == "Ankle boot"


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, made = np.random.default_rng(0), {}
    for part in ("train", "test"):
        made[part] = rng.integers(0, 256, (32, 32, 3, 4)).astype(np.uint8)
        labels = np.array([[1], [10], [3], [1]], np.uint8)  # 10 is the digit 0
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", {"X": made[part], "y": labels})
    with pytest.raises(ValueError, match=r"--data_folder .*: no whole SVHN .*--download fetches"):
        load("svhn", str(tmp_path))  # the files' sums are not the official ones
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda _: True)
    source = load("svhn", str(tmp_path))
    assert source.train.pixels is not None
    assert np.array_equal(source.train.pixels, made["train"].transpose(3, 0, 1, 2))
    assert source.train.pixels.flags.c_contiguous
    assert source.val.labels.tolist() == [1, 0, 3, 1]
    assert source.classes == ["0", "1", "2", "3"]


def test_stl10_keeps_its_unlabeled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rng = tmp_path / "stl10_binary", np.random.default_rng(0)
    place.mkdir()
    (place / "class_names.txt").write_text("\n".join("abcdefghij"))
    made = {}
    for part, number in (("train", 3), ("test", 2), ("unlabeled", 5)):
        made[part] = rng.integers(0, 256, (number, 3, 96, 96)).astype(np.uint8)
        (place / f"{part}_X.bin").write_bytes(made[part].tobytes())
        if part != "unlabeled":
            (place / f"{part}_y.bin").write_bytes(bytes(range(1, number + 1)))
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda _: True)
    source = load("stl10", str(tmp_path))
    assert source.train.labels.tolist() == [0, 1, 2, -1, -1, -1, -1, -1]
    assert source.val.labels.tolist() == [0, 1]
    assert source.train.pixels is not None
    # The file has the columns first.
    expected = np.concatenate([made["train"], made["unlabeled"]]).transpose(0, 3, 2, 1)
    assert np.array_equal(source.train.pixels, expected)
    assert source.classes == list("abcdefghij")


def write_food(folder: Path) -> None:
    for part, number in (("train", 4), ("test", 2)):
        names = {c: [f"{c}/{part}{i}" for i in range(number)] for c in ("apple_pie", "sushi")}
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / f"{part}.json").write_text(json.dumps(names))
        for name in (name for of in names.values() for name in of):
            file = folder / "images" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(len(name) + ord(name[-1]), "JPEG"))


@pytest.mark.parametrize("name", ["food101", "torchvision:Food101"])
def test_food101_is_read_lazily(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_map_style, "IN_MEMORY", (8, 10**9))  # its images are larger than these
    folder = tmp_path / "food-101"
    write_food(folder)
    source = load(name, str(tmp_path))
    assert source.classes == ["apple_pie", "sushi"]
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert source.val.labels.tolist() == [0, 0, 1, 1]
    promises(source)
    file = folder / "images" / "apple_pie" / "train2.jpg"
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(UnreadableError, match=f"^{name} train, item 2 cannot be read"):
        source.train.pixel(2)
    with pytest.warns(UserWarning, match=f"1 of 12 images .*: {name} train, item 2;"):
        assert len(load(name, str(tmp_path), skip_corrupt=True).train) == 7


class Plain:
    """As torchvision's data sets that have no parts, and labels only item by item."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(picture(8, 8 + index % 2, index)), index % 3


def test_a_set_without_parts_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "EuroSAT", Plain)
    source = load("torchvision:EuroSAT", "")
    assert source.classes == ["0", "1", "2"]
    assert np.bincount(source.val.labels).tolist() == [1, 1, 1]
    assert source.split == "it has no validation part: a tenth of every class is held out"
    promises(source)


class Pairs(Plain):
    def __getitem__(self, index: int) -> tuple[Image.Image, list[int]]:
        return super().__getitem__(index)[0], [1, 2]


class Asked:
    """Records what a data set is asked for."""

    asked: list[str]

    def __init__(self, root: str, split: str = "trainval") -> None:
        if split == "test":
            raise ValueError("Unknown value 'test' for argument split. Valid values are ...")
        self.asked.append(split)
        self.targets = [0, 1]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (8, 8)), index


def test_the_parts_of_a_set_with_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    Asked.asked = []
    monkeypatch.setattr(torchvision.datasets, "DTD", Asked)
    load("torchvision:DTD", "")
    assert Asked.asked == ["trainval", "val"]


@pytest.mark.parametrize(
    ("name", "download", "message"),
    [
        ("FashonMNIST", False, "no data set FashonMNIST; did you mean torchvision:FashionMNIST?"),
        ("VisionDataset", False, "torchvision has no data set VisionDataset"),
        ("Pairs", False, "torchvision:Pairs train, item 0: its label is a list"),
        ("CocoDetection", False, "torchvision:CocoDetection: needs annFile, not given here"),
        ("EMNIST", False, "torchvision:EMNIST: needs split, not given here"),
        ("FashionMNIST", False, "--data_folder .*: no whole FashionMNIST .*--download fetches it"),
        ("Plain", True, "--download: torchvision cannot fetch Plain"),
    ],
)
def test_what_torchvision_does_not_have(
    tmp_path: Path, name: str, download: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets, "__all__", [*ALL, "Plain", "Pairs"])
    monkeypatch.setattr(torchvision.datasets, "Plain", Plain, raising=False)
    monkeypatch.setattr(torchvision.datasets, "Pairs", Pairs, raising=False)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load(f"torchvision:{name}", str(tmp_path), download=download)
