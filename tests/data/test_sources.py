"""Data sets as they lie on disk, and the errors of those that do not."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl.data.decode import decode
from cl.data.sources import load
from tests.data.made import picture


def test_digits_are_split_by_class() -> None:
    source = load("digits", "")
    again = load("digits", "")
    assert source.train.pixels is not None
    assert source.val.pixels is not None
    assert again.val.pixels is not None
    assert len(source.train) + len(source.val) == 1797
    assert source.train.pixels.shape[1:] == (8, 8, 3)
    assert source.train.pixels.max() == 255
    assert np.array_equal(source.val.pixels, again.val.pixels)
    per_class = [np.bincount(x.labels, minlength=10) for x in (source.train, source.val)]
    assert np.abs(per_class[1] / sum(per_class) - 0.2).max() < 0.01
    trained, held = ({p.tobytes() for p in x} for x in (source.train.pixels, source.val.pixels))
    assert not trained & held


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Two images a file, in the official layout."""
    rng, made = np.random.default_rng(0), {}
    ten = name == "cifar10"
    place = folder / ("cifar-10-batches-py" if ten else "cifar-100-python")
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if ten else ["train", "test"]
    for file in files:
        made[file] = rng.integers(0, 256, (2, 3, 32, 32)).astype(np.uint8)
        labels = {"labels": [3, 1]} if ten else {"fine_labels": [99, 4], "coarse_labels": [0, 1]}
        write(place / file, {"data": made[file].reshape(2, -1), **labels})
    key = "label_names" if ten else "fine_label_names"
    write(place / ("batches.meta" if ten else "meta"), {key: [f"c{i}" for i in range(100)]})
    return made


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path: Path, name: str) -> None:
    made = write_cifar(tmp_path, name)
    with pytest.warns(UserWarning, match="files differ from the official ones"):
        source = load(name, str(tmp_path))
    train = np.concatenate([x for file, x in made.items() if not file.startswith("test")])
    val = next(x for file, x in made.items() if file.startswith("test"))
    for images, expected in ((source.train, train), (source.val, val)):
        assert images.pixels is not None
        assert images.pixels.flags.c_contiguous
        assert np.array_equal(images.pixels, expected.transpose(0, 2, 3, 1))
    assert source.val.labels.tolist() == ([3, 1] if name == "cifar10" else [99, 4])
    assert source.classes[:2] == ["c0", "c1"]


class Harm:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path(self.path),)


@pytest.mark.filterwarnings("ignore:.*differ from the official")
def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar10")
    file = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    write(file, {"data": Harm(str(tmp_path / "harm"))})
    with pytest.raises(ValueError, match=r"data_batch_2 is no CIFAR file: .* is not CIFAR"):
        load("cifar10", str(tmp_path))
    assert not (tmp_path / "harm").exists()


@pytest.mark.filterwarnings("ignore:.*differ from the official")
@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps([1]), pickle.dumps({}), pickle.dumps({"data": [1]})],
)
def test_a_damaged_cifar_file_is_named(tmp_path: Path, content: bytes) -> None:
    write_cifar(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_2"):
        load("cifar10", str(tmp_path))


def test_cifar_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data_folder .*--download"):
        load("cifar10", str(tmp_path))
    write_cifar(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(ValueError, match="data_batch_2 is missing"):
        load("cifar10", str(tmp_path))
    with pytest.raises(ValueError, match=r"--data_folder .*STL-10"):
        load("stl10", str(tmp_path))


def write_folders(place: Path, classes: str = "ab", number: int = 20) -> None:
    for c in classes:
        (place / c).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(picture(8, 8, i)).save(place / c / f"{i:02}.PNG")
        (place / c / "notes.txt").write_text("no image")


def test_folders_hold_a_tenth_out(tmp_path: Path) -> None:
    write_folders(tmp_path / "train")
    source = load("folder", str(tmp_path))
    assert source.train.paths is not None
    assert source.val.paths is not None
    assert source.classes == ["a", "b"]
    assert np.bincount(source.val.labels).tolist() == [2, 2]
    assert len({*source.train.paths, *source.val.paths}) == 40
    assert all(
        p.parent.name == "ab"[c] for p, c in zip(source.val.paths, source.val.labels, strict=True)
    )
    assert "--val_dir" in source.note
    assert source.train.pixel(0).shape == (8, 8, 3)


def test_folders_with_their_own_validation(tmp_path: Path) -> None:
    write_folders(tmp_path / "train")
    write_folders(tmp_path / "val", number=3)
    write_folders(tmp_path / "other", "abc", 1)
    for source in (
        load("folder", str(tmp_path)),
        load("folder", str(tmp_path), "train", "val"),
        load("folder", str(tmp_path / "train"), None, "../val"),
    ):
        assert (len(source.train), len(source.val)) == (40, 6)
    with pytest.raises(ValueError, match=r"--val_dir other: its classes differ .* 1: c"):
        load("folder", str(tmp_path), "train", "other")


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--train_dir .*nowhere: no such folder"):
        load("folder", str(tmp_path), "nowhere")
    with pytest.raises(ValueError, match=r"--train_dir .*: no class folders"):
        load("folder", str(tmp_path))
    write_folders(tmp_path / "train")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"--train_dir .*1 classes without images \(empty\)"):
        load("folder", str(tmp_path))
    (tmp_path / "train" / "empty").rmdir()
    with pytest.raises(ValueError, match=r"--val_dir .*nowhere: no such folder"):
        load("folder", str(tmp_path), "train", "nowhere")


def test_modes_become_rgb(tmp_path: Path) -> None:
    rgb = picture(20, 30)
    image = Image.fromarray(rgb)
    gray = np.array(image.convert("L"))
    cases = {
        "rgb.png": (image, rgb),
        "gray.png": (Image.fromarray(gray), np.repeat(gray[..., None], 3, 2)),
        "rgba.png": (image.convert("RGBA"), rgb),
        "palette.png": (image.quantize(16), np.array(image.quantize(16).convert("RGB"))),
        "deep.png": (
            Image.fromarray(gray.astype(np.uint16) * 256 + 7),
            np.repeat(gray[..., None], 3, 2),
        ),
        "print.tif": (image.convert("CMYK"), np.array(image.convert("CMYK").convert("RGB"))),
        "small.bmp": (image, rgb),
    }
    for name, (made, expected) in cases.items():
        made.save(tmp_path / name)
        found = decode(tmp_path / name)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert np.array_equal(found, expected), name
    image.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(decode(tmp_path / "print.jpg").astype(int) - rgb).mean() < 12


def test_palette_with_transparency_is_decoded_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(picture(20, 30)).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    assert decode(tmp_path / "a.png").shape == (20, 30, 3)


def test_no_image_is_an_error_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(picture(64, 64)).save(file)
    for content in (file.read_bytes()[:900], b"text", b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image"):
            decode(file)
