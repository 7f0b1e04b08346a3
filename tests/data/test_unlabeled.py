"""Images without labels, in every way that they are given; what cannot be taken is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl.data.augment.recipe import Recipe
from cl.data.loaders.device import DeviceLoader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader
from cl.data.module import choose
from cl.data.sets import Images, Source, load
from cl.data.sets._sums import data_checksum


def photo(place: Path, value: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    x = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)  # of enough levels of gray
    x[..., 0] = value
    Image.fromarray(x).save(place)


def values(source: Source) -> list[int]:
    """The red of all images, which tells them apart."""
    parts = (source.train, source.val)
    return sorted(int(part.pixel(i)[0, 0, 0]) for part in parts for i in range(len(part)))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten images in a folder, in two of its folders, and some that are not meant."""
    for i in range(10):
        photo(tmp_path / ["", "a", "a/b"][i % 3] / f"{i}.png", i * 10)
    photo(tmp_path / ".hidden" / "x.png", 255)
    (tmp_path / "notes.md").write_text("no image")
    return tmp_path


def arrays(folder: Path) -> np.ndarray:
    x = np.zeros((10, 5, 6, 3), np.uint8)
    x[..., 0] = np.arange(0, 100, 10)[:, None, None]
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", images=x, index=np.arange(10))
    return x


def lists(folder: Path) -> None:
    paths = sorted(str(p.relative_to(folder)) for p in folder.glob("**/[0-9].png"))
    (folder / "all.txt").write_text("\n".join([*paths, "", ""]))
    (folder / "all.csv").write_text("\n".join(["id,path", *(f"1,{p}" for p in paths)]))
    (folder / "all.tsv").write_text("\n".join(["﻿file\tid", *(f"{p}\t2" for p in paths)]))


@pytest.mark.parametrize("place", [".", "**/?.png", "all.txt", "all.csv", "all.tsv"])
def test_files(album: Path, place: str) -> None:
    lists(album)
    source = load(f"unlabeled:{place}", str(album))
    assert values(source) == [*range(0, 100, 10)]
    assert source.describe().startswith("9 train / 1 val (10 %), no labels")
    assert (source.train.labels == -1).all()
    assert not source.classes
    assert load(f"unlabeled:{album / place}", "elsewhere").describe() == source.describe()


def test_what_is_no_image_is_said(album: Path) -> None:
    said = load("unlabeled:.", str(album)).describe()
    assert said.endswith("left out: 1 .md, 1 in .hidden")


@pytest.mark.parametrize("place", ["x.npy", "x.npz"])
def test_arrays(tmp_path: Path, place: str) -> None:
    x = arrays(tmp_path)
    source = load(f"unlabeled:{place}", str(tmp_path))
    assert values(source) == x[:, 0, 0, 0].tolist()
    assert source.protocol() == "a tenth of the images is held out"


def test_a_mapped_array_stays_on_the_disk(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (600, 9, 10, 3), np.uint8)
    np.save(tmp_path / "x.npy", x)
    source = load("unlabeled:x.npy", str(tmp_path), data_fraction=0.5)
    train, val = source.train, source.val
    assert train.pixels is not None
    assert val.pixels is not None
    assert np.shares_memory(train.pixels, val.pixels)
    assert not train.pixels.flags.writeable
    assert train.rows is not None
    held = Images(train.labels, x[train.rows])
    assert data_checksum(held) == data_checksum(train)
    for kind in (MemoryLoader, FileLoader):
        loaders = [kind(i, [Recipe(size=8)], Sampler(len(i), 64, 0), 2) for i in (train, held)]
        for a, b in zip(*loaders, strict=True):
            assert torch.equal(a.index, b.index)
            assert torch.equal(a.views[0], b.views[0])
    recipes = [Recipe(size=8)]
    pairs = [
        DeviceLoader(i, recipes, Sampler(270, 64, 0), torch.device("cpu")) for i in (train, held)
    ]
    for a, b in zip(*pairs, strict=True):
        assert torch.equal(a.views[0], b.views[0])
    assert choose("auto", train) == ("memory", "the pixels are mapped from a file")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"DATASET unlabeled:x\.npy: .*x\.npy holds no images"):
        load("unlabeled:x.npy", str(tmp_path))


WRONG = {
    "there is no .*nowhere": ("nowhere", ""),
    r"1\.png is no folder, list or array": ("1.png", ""),
    r"no images in .*jpg": ("*.jpg", ""),
    "1 of the 2 files of .* are not there: .*2.png": ("l.txt", "1.png\n2.png\n"),
    "must name one column of paths .*it has a, b": ("l.csv", "a,b\n1.png,2\n"),
    "must name one column of paths .*it has path, file": ("l.csv", "path,file\n1.png,2\n"),
    "it has nothing": ("l.csv", ""),
    "has 1 files twice, as .*/1.png": ("l.txt", "1.png\n./x/../1.png\n"),
    "no text in UTF-8": ("l.txt", b"\xff\xfe1"),
    "holds no images": ("l.npy", b"text"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_taken_is_named(tmp_path: Path, message: str) -> None:
    place, content = WRONG[message]
    photo(tmp_path / "1.png", 1)
    (tmp_path / "x").mkdir()
    if place.startswith("l."):
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / place).write_bytes(data)
    with pytest.raises(ValueError, match=f"DATASET unlabeled:.*{message}"):
        load(f"unlabeled:{place}", str(tmp_path))
