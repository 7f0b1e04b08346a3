"""Data sets as they lie on disk, and the errors of those that do not."""

import pickle
import shutil
import zipfile
from collections.abc import Callable
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData
from cl.data.sets import Images, Paths, Source, Where, load
from cl.data.sets.imagenet100 import CLASSES
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
    with pytest.raises(ValueError, match=r"--data_folder .*STL10.*--download fetches it"):
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
    assert isinstance(source.train.files, Paths)
    assert isinstance(source.val.files, Paths)
    train, val = source.train.files.paths, source.val.files.paths
    assert source.classes == ["a", "b"]
    assert np.bincount(source.val.labels).tolist() == [2, 2]
    assert len({*train, *val}) == 40
    assert all(p.parent.name == "ab"[c] for p, c in zip(val, source.val.labels, strict=True))
    assert source.split == "no --val_dir: a tenth of every class is held out"
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


def test_a_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for i in range(20):
        Image.fromarray(picture(8, 8, i)).save(tmp_path / "train" / f"{i:02}.png")
    source = load("folder", str(tmp_path))
    assert source.describe() == "18 train / 2 val (10 %), no labels"
    assert {*source.train.labels, *source.val.labels} == {-1}
    assert isinstance(source.train.files, Paths)
    assert isinstance(source.val.files, Paths)
    assert len({*source.train.files.paths, *source.val.files.paths}) == 20
    data = ContrastiveData(source, [Recipe(size=8)], batch_size=6)
    assert all((batch.labels == -1).all() for batch in data.train_dataloader())
    assert [len(batch.labels) for batch in data.val_dataloader()] == [2]
    with pytest.raises(ValueError, match="no labeled images in one of its parts"):
        load("folder", str(tmp_path), labeled=True)
    write_folders(tmp_path / "val", number=3)
    with pytest.raises(ValueError, match="--val_dir val: its classes differ"):
        load("folder", str(tmp_path))


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


@pytest.mark.parametrize("val_dir", ["train", "train/a", "."])
def test_parts_that_overlap_are_refused(val_dir: str, tmp_path: Path) -> None:
    write_folders(tmp_path / "train", "abc")
    with pytest.raises(ValueError, match=r"--val_dir .* and the training images overlap"):
        load("folder", str(tmp_path), "train", val_dir)


def partly_labeled(name: str, _: Where) -> Source:
    images = Images(np.array([0, -1, 1, -1, 0, 1] * 10), np.zeros((60, 8, 8, 3), np.uint8))
    return Source(name, ["a", "b"], images, images)


def test_only_what_has_a_label(tmp_path: Path) -> None:
    """Before the fraction is taken, so that so many labeled images are left."""
    source = load(f"{__name__}:partly_labeled", str(tmp_path), labeled=True, data_fraction=12)
    whole = load(f"{__name__}:partly_labeled", str(tmp_path), data_fraction=12)
    assert np.bincount(source.train.labels).tolist() == [6, 6]
    assert len(source.val) == 40
    assert (whole.train.labels < 0).sum() == 4


def test_a_list_of_classes(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", "abc")
    write_folders(tmp_path / "val", "abcd", 2)
    (tmp_path / "some").write_text("c\na\n")
    source = load("folder", str(tmp_path), class_list=str(tmp_path / "some"))
    assert source.classes == ["a", "c"]
    assert (len(source.train), len(source.val)) == (40, 4)
    assert source.note == f"2 classes of {tmp_path}/some"
    (tmp_path / "some").write_text("a\ngolden retriever\n")
    absent = r"--train_dir .*1 of the 2 wanted classes .* \(golden retriever\)"
    with pytest.raises(ValueError, match=absent):
        load("folder", str(tmp_path), class_list=str(tmp_path / "some"))
    (tmp_path / "some").write_text("")
    with pytest.raises(ValueError, match=r"--class_list .*some: no class in it"):
        load("folder", str(tmp_path), class_list=str(tmp_path / "some"))


def test_the_classes_of_imagenet100(tmp_path: Path) -> None:
    names = CLASSES.read_text().split()
    assert len({*names}) == 100
    assert all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in names)
    for name in names:
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "train" / name / f"{i}.jpg").touch()
    assert "100 classes" not in load("imagenet100", str(tmp_path)).note
    (tmp_path / "train" / "n00000000").mkdir()
    (tmp_path / "train" / "n00000000" / "0.jpg").touch()
    source = load("imagenet100", str(tmp_path))
    assert source.classes == sorted(names)
    assert source.note.startswith("the 100 classes of CMC")
    assert len(load("imagenet", str(tmp_path)).classes) == 101


def write_kaggle(home: Path) -> list[str]:
    """Four classes of CMC's and one other, as Kaggle delivers ImageNet; the synsets."""
    synsets, images = [*CLASSES.read_text().split()[:4], "n99999999"], home / "ILSVRC/Data/CLS-LOC"
    lines = ["ImageId,PredictionString"]
    for part in ("train", "val", "test"):
        (images / part).mkdir(parents=True)
    for label, synset in enumerate(synsets):
        (images / "train" / synset).mkdir()
        for i in range(2):
            (images / "train" / synset / f"{synset}_{i}.JPEG").touch()
            (images / "val" / f"ILSVRC2012_val_{i}{label}.JPEG").touch()
            lines.append(f"ILSVRC2012_val_{i}{label},{synset} 85 1 499 272 {synset} 0 0 9 9 ")
    (images / "test" / "ILSVRC2012_test_0.JPEG").touch()
    (home / "LOC_val_solution.csv").write_text("\n".join(lines))
    (home / "LOC_synset_mapping.txt").write_text("\n".join(f"{s} a, b" for s in synsets))
    return synsets


def test_imagenet_as_kaggle_delivers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synsets = write_kaggle(tmp_path)
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    for place in (tmp_path, tmp_path / "ILSVRC", images):
        source = load("imagenet", str(place))
        assert source.classes == synsets
        assert len(source.train) == 10
        assert source.left_out == "left out: 1 in test"
        assert isinstance(source.val.files, Paths)
        names = [f"ILSVRC2012_val_{i}{label}.JPEG" for i in range(2) for label in range(5)]
        assert [path.name for path in source.val.files.paths] == names
        assert source.val.labels.tolist() == [*range(5)] * 2
    monkeypatch.setattr("cl.data.sets.imagenet100.CLASSES", tmp_path / "four")
    (tmp_path / "four").write_text("\n".join(synsets[:4]))
    some = load("imagenet100", str(tmp_path))
    assert (some.classes, len(some.val)) == (synsets[:4], 8)
    (images / "val" / "ILSVRC2012_val_00.JPEG").unlink()
    with pytest.raises(ValueError, match=r"1 of the 10 files of .*LOC_val_solution\.csv are not"):
        load("imagenet", str(tmp_path))
    shutil.rmtree(images / "train" / synsets[0])
    with pytest.raises(ValueError, match=rf"1 of the 5 wanted classes .*\({synsets[0]}\)"):
        load("imagenet", str(tmp_path))
    (tmp_path / "LOC_val_solution.csv").unlink()
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    with pytest.raises(ValueError, match=r"there is no .*LOC_val_solution\.csv, which has the lab"):
        load("imagenet", str(tmp_path))
    assert load("imagenet", str(images), "train").classes == synsets[1:]  # as the flags say
    for synset in synsets[1:]:  # sorted into class folders, as many have it
        (images / "val" / synset).mkdir()
        (images / "val" / synset / "ILSVRC2012_val_1.JPEG").touch()
    assert len(load("imagenet", str(tmp_path)).val) == 4


def write_tiny(folder: Path) -> None:
    for wnid in ("n02", "n01"):
        (folder / "train" / wnid / "images").mkdir(parents=True)
        for i in range(3):
            file = folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
            Image.fromarray(picture(64, 64, i)).save(file)
    (folder / "val" / "images").mkdir(parents=True)
    for i in range(2):
        Image.fromarray(picture(64, 64, 9 + i)).save(folder / "val" / "images" / f"val_{i}.JPEG")
    lines = ["val_1.JPEG\tn02\t0\t32\t44\t62", "val_0.JPEG\tn01\t0\t0\t63\t63"]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")


def test_tiny_imagenet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tiny-imagenet-200/train in it; unpack http"):
        load("tiny_imagenet", str(tmp_path))
    folder = tmp_path / "tiny-imagenet-200"
    write_tiny(folder)
    source = load("tiny_imagenet", str(tmp_path))
    assert source.classes == ["n01", "n02"]
    assert source.train.labels.tolist() == [0] * 3 + [1] * 3
    assert source.val.labels.tolist() == [1, 0]
    assert source.val.files is not None
    assert source.val.files.name(0).endswith("val_1.JPEG")
    assert source.val.pixel(0).shape == (64, 64, 3)
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn03\n")
    with pytest.raises(ValueError, match=r"val_annotations.txt: val_0.JPEG n03 names no class"):
        load("tiny_imagenet", str(tmp_path))


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="DATASET imagenette is unknown; choose from digits, cifar10"
    ):
        load("imagenette", str(tmp_path))


def test_an_empty_validation_part(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", number=1)
    with pytest.raises(ValueError, match="--val_dir: no validation images"):
        load("folder", str(tmp_path))


def test_real_folders(shared: Path, tmp_path: Path) -> None:
    packed = shared / "data" / "imagenette224.zip"
    if not packed.is_file():
        pytest.skip(f"no {packed}")
    with zipfile.ZipFile(packed) as file:
        of_class = groupby(sorted(file.namelist()), lambda name: name.rpartition("/")[0])
        file.extractall(tmp_path, [name for _, names in of_class for name in islice(names, 6)])
    source = load("folder", str(tmp_path / "imagenette224"), skip_corrupt=True, workers=2)
    assert (len(source.classes), len(source.train), len(source.val)) == (10, 60, 60)
    assert not source.skipped
    assert {source.train.pixel(i).shape for i in range(60)} == {(224, 224, 3)}
