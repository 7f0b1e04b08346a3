"""Folders as people have them: what is a part, a class, an image, and what is left out."""

from pathlib import Path

import pytest
from PIL import Image

from cl.data.sets import Paths, Source, load
from tests.data.made import picture
from tests.data.test_stored import encoded, write_shard


def write(root: Path, *names: str, number: int = 12) -> Path:
    """So many images in each of some folders; below one root no two are alike."""
    for name in names:
        place = root / name
        place.mkdir(parents=True, exist_ok=True)
        for i in range(number):
            seed = len([*root.rglob("*.png")])
            Image.fromarray(picture(8, 8, seed)).save(place / f"{i:02}.png")
    return root


def classes_of(*parts: str) -> list[str]:
    return [f"{part}/{c}" for part in parts for c in ("cat", "dog")]


def paths(source: Source) -> tuple[list[Path], list[Path]]:
    assert isinstance(source.train.files, Paths)
    assert isinstance(source.val.files, Paths)
    return [*source.train.files.paths], [*source.val.files.paths]


@pytest.mark.parametrize(
    ("train", "val", "left"),
    [
        ("train", "val", None),
        ("Train", "Val", None),
        ("TRAIN", "TEST", None),
        ("training", "validation", None),
        ("training_set", "test_set", None),
        ("train", "valid", "test"),
        ("training", "validation", "test"),
        ("train_images", "val-images", "extra"),
    ],
)
def test_parts_are_recognized(tmp_path: Path, train: str, val: str, left: str | None) -> None:
    write(tmp_path, *classes_of(train, val, *[left] * bool(left)))
    source = load("folder", str(tmp_path))
    assert source.classes == ["cat", "dog"]
    assert all(path.is_relative_to(tmp_path / train) for path in paths(source)[0])
    assert all(path.is_relative_to(tmp_path / val) for path in paths(source)[1])
    assert (len(source.train), len(source.val)) == (24, 24)
    assert source.split == ("" if val == "val" else f"{val} validates")
    assert source.left_out == (f"left out: 24 in {left}" if left else "")


def test_pieces_of_a_part_are_put_together(tmp_path: Path) -> None:
    """As Kaggle has ImageNet-100: each piece has some of the classes."""
    names = [f"n0000000{i}" for i in range(4)]
    write(tmp_path, *(f"train.X{1 + i % 2}/{name}" for i, name in enumerate(names)))
    write(tmp_path, *(f"val.X/{name}" for name in names), number=2)
    (tmp_path / "Labels.json").write_text("{}")
    source = load("imagenet100", str(tmp_path))
    assert source.classes == names
    assert (len(source.train), len(source.val)) == (48, 8)
    for path, label in zip(paths(source)[0], source.train.labels, strict=True):
        assert path.parent.name == names[label]


def test_a_test_part_without_classes_does_not_validate(tmp_path: Path) -> None:
    write(tmp_path, *classes_of("train"), "test")
    source = load("folder", str(tmp_path))
    assert (len(source.train), len(source.val)) == (22, 2)
    assert source.left_out == "left out: 12 in test"


def test_a_validation_part_may_lack_classes(tmp_path: Path) -> None:
    write(tmp_path, *classes_of("train"), "train/elk", "val/dog", "val/elk")
    (tmp_path / "val" / "cat").mkdir()
    source = load("folder", str(tmp_path))
    assert source.classes == ["cat", "dog", "elk"]
    assert source.val.labels.tolist() == [1] * 12 + [2] * 12
    write(tmp_path, "val/fox")
    with pytest.raises(ValueError, match=r"--val_dir val: its classes differ .* in 1: fox"):
        load("folder", str(tmp_path))


def test_a_train_is_a_class_beside_others(tmp_path: Path) -> None:
    source = load("folder", str(write(tmp_path, "bus", "car", "train")))
    assert source.classes == ["bus", "car", "train"]
    assert len(source.train) + len(source.val) == 36


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (classes_of("Training", "train", "val"), "Training, train may be one part; .*--train_dir"),
        (classes_of("val", "test"), "test, val may be a part or a class; .*--train_dir"),
        (classes_of("raw"), "it holds one folder, raw, with .* give --data_folder .*raw"),
        (classes_of("data/train", "data/val"), "it holds one folder, data, with folders in it"),
    ],
)
def test_what_is_not_recognized_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(ValueError, match=message):
        load("folder", str(tmp_path))
    chosen = load("folder", str(tmp_path), ".")  # as the user says
    assert chosen.classes == sorted({name.partition("/")[0] for name in names})


def test_imagenets_classes_have_its_names(tmp_path: Path) -> None:
    write(tmp_path, *classes_of("train", "val"))
    with pytest.raises(ValueError, match=r"2 of 2 class folders .* \(cat, dog\); give --train_dir"):
        load("imagenet", str(tmp_path))
    assert "2 of 2 class folders" in load("imagenet", str(tmp_path), "train", "val").describe()


def test_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "store", "a", "b")
    data = write(tmp_path / "data", "cat", "dog", number=2)
    for name, target in (("cat", "a"), ("dog", "b")):
        (data / name / "more").symlink_to(tmp_path / "store" / target)
        (data / name / "loop").symlink_to(data / name)
    (data / "elk").symlink_to(tmp_path / "store" / "a")
    source = load("folder", str(data))
    assert source.classes == ["cat", "dog", "elk"]
    assert len(source.train) + len(source.val) == 2 * (2 + 12) + 12


def test_a_linked_image_is_not_in_both_parts(tmp_path: Path) -> None:
    write(tmp_path, *classes_of("train", "val"))
    (tmp_path / "val" / "cat" / "linked.png").symlink_to(tmp_path / "train" / "cat" / "03.png")
    with pytest.raises(ValueError, match=r"--val_dir val: 1 of its images .*train/cat/03\.png"):
        load("folder", str(tmp_path))


def test_a_linked_class_is_not_in_both_parts(tmp_path: Path) -> None:
    write(tmp_path / "pool", "a", number=2)
    for part in ("train", "val"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "a").symlink_to(tmp_path / "pool" / "a")
    with pytest.raises(ValueError, match="--val_dir val: 2 of its images are training images too"):
        load("folder", str(tmp_path / "data"))


def test_what_is_no_image_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "cat", "dog")
    for name in ("cat/.ipynb_checkpoints", "__MACOSX/cat"):
        write(tmp_path, name, number=5)
    (tmp_path / "cat" / "._00.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "dog" / "x.jpg").mkdir()
    (tmp_path / "dog" / "README").touch()
    (tmp_path / "dog" / "a.heic").touch()
    (tmp_path / "stray.png").touch()
    source = load("folder", str(tmp_path))
    assert source.classes == ["cat", "dog"]
    assert len(source.train) + len(source.val) == 24
    left = "1 .heic, 1 hidden, 1 images beside the class folders, 5 in .ipynb_checkpoints, "
    assert source.left_out == f"left out: {left}5 in __MACOSX, 1 without a suffix"
    assert source.describe().endswith(source.left_out)


@pytest.mark.parametrize("suffix", ["gif", "avif", "jfif", "jpe", "jp2", "tga", "JPEG"])
def test_images_of_more_kinds_are_read(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, "cat", "dog")
    file = tmp_path / "cat" / f"more.{suffix}"
    Image.fromarray(picture(8, 8)).save(file)
    source = load("folder", str(tmp_path))
    assert len(source.train) + len(source.val) == 25
    assert file in [*paths(source)[0], *paths(source)[1]]
    assert not source.left_out


def test_shards_follow_the_same_rules(tmp_path: Path) -> None:
    made = {f"{i}.png": encoded(i) for i in range(4)} | {f"{i}.cls": b"0" for i in range(4)}
    more = {"./._0.png": b"\0\5", "__MACOSX/._1.png": b"\0\5", "0.txt": b"a caption"}
    write_shard(tmp_path / "a-0.tar", made | more)
    write_shard(tmp_path / "a-1.tar", {"9.gif": encoded(9, "GIF"), "9.cls": b"0"})
    source = load("webdataset:a-0.tar", str(tmp_path), None, "a-1.tar")
    assert (len(source.train), len(source.val)) == (4, 1)
    assert source.left_out == "left out: 1 .txt, 2 hidden"
    with pytest.raises(ValueError, match=r"--val_dir .*a-1\.tar is a training shard"):
        load("webdataset:a-{0..1}.tar", str(tmp_path), None, "a-1.tar")
