"""What is held out, a share of the training images, and what cannot be read."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from cl.data.sets import Images, Paths, load
from cl.data.sets._split import held_out_places, split, take_fraction
from tests.data.made import picture


def numbered(labels: list[int]) -> Images:
    """Images that hold their own number."""
    pixels = np.arange(len(labels), dtype=np.uint16).view(np.uint8).reshape(-1, 1, 2, 1)
    return Images(np.array(labels, np.int64), np.repeat(pixels, 3, axis=3))


def numbers(images: Images) -> list[int]:
    assert images.pixels is not None
    return images.pixels[..., 0].copy().view(np.uint16).ravel().tolist()


UNEVEN = [0] * 200 + [1] * 53 + [2] * 7 + [3] + [-1] * 300


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_no_image_is_in_two_parts(share: float) -> None:
    images = numbered(UNEVEN)
    train, val = split(images, share)
    assert sorted(numbers(train) + numbers(val)) == list(range(len(UNEVEN)))
    assert numbers(split(images, share)[1]) == numbers(val)
    counts = np.bincount(val.labels, minlength=4)
    assert counts.tolist() == [round(200 * share), round(53 * share), max(1, round(7 * share)), 0]
    assert val.labels.min() == 0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.37, 0.9, 1, 30, 560])
def test_a_fraction_has_every_class_in_proportion(share: float) -> None:
    part = take_fraction(numbered(UNEVEN), share)
    number = round(share * 561) if share <= 1 else share
    assert len(part) == number
    assert numbers(part) == sorted({*numbers(part)})  # in the data set's order
    for c, size in ((0, 200), (1, 53), (2, 7), (3, 1), (-1, 300)):
        # Rounded up where all classes are; one off, since so many are taken in all.
        assert abs((part.labels == c).sum() - number / 561 * size) < 2


@pytest.mark.parametrize("classes", [1, 7, 300])
def test_the_draws_are_those_of_a_pass_for_each_class(classes: int) -> None:
    labels = np.random.default_rng(classes).integers(-1, classes, 500)
    rng, held_out = np.random.default_rng(0), list[int]()
    for c in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == c)
        number = min(len(members) - 1, max(1, round(0.1 * len(members))))
        held_out += rng.permutation(members)[:number].tolist()
    images = Images(labels, np.zeros((500, 1, 1, 3), np.uint8))
    assert held_out_places(images, 0.1).tolist() == sorted(held_out)
    rng, rank = np.random.default_rng(0), np.empty(500)
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        rank[rng.permutation(members)] = np.arange(len(members)) / len(members)
    first = np.sort(np.lexsort((rng.permutation(500), rank))[:123])
    part = take_fraction(replace(images, rows=np.arange(500)), 123)
    assert isinstance(part, Images)
    assert np.array_equal(part.rows, first)


def test_equal_classes_have_equal_fractions() -> None:
    part = take_fraction(numbered(list(range(10)) * 100), 0.1)
    assert np.bincount(part.labels).tolist() == [10] * 10
    assert len({n % 100 for n in numbers(part)}) > 10  # and not their first images


def test_a_fraction_lies_inside_of_a_larger_one() -> None:
    images = numbered(UNEVEN)
    parts = [{*numbers(take_fraction(images, share))} for share in (0.01, 0.1, 100, 0.5, 1)]
    assert all(small < large for small, large in pairwise(parts))


def test_a_fraction_of_a_data_set() -> None:
    whole, part = load("digits", ""), load("digits", "", data_fraction=0.1)
    assert len(part.train) == round(0.1 * len(whole.train))
    assert len(part.val) == len(whole.val)
    assert part.note == f"{len(part.train)} of 1,438 training images"
    with pytest.raises(ValueError, match="--data_fraction 5000: there are 1438 training images"):
        load("digits", "", data_fraction=5000)


def test_settings_are_chosen_by_training_images() -> None:
    """Always the same ones, of every class, and none of the data set's own validation part."""
    own, held = load("digits", ""), load("digits", "", val_fraction=0.25)
    assert len(held.train) + len(held.val) == len(own.train)
    every = {x.tobytes() for x in own.train.pixels}
    parts = [{x.tobytes() for x in images.pixels} for images in (held.train, held.val)]
    assert parts[0] | parts[1] == every
    assert not parts[0] & parts[1]
    assert np.bincount(held.val.labels).tolist() == [
        round(0.25 * number) for number in np.bincount(own.train.labels)
    ]
    assert "(25 %, stratified)" in held.describe()
    assert held.protocol() == "of training, 0.25 of every class is held out"
    fewer = load("digits", "", val_fraction=0.25, data_fraction=100)
    assert (len(fewer.train), len(fewer.val)) == (100, len(held.val))
    assert np.array_equal(fewer.val.pixels, held.val.pixels)


def write(folder: Path, number: int = 6) -> None:
    for part in ("train", "val"):
        for c in "ab":
            (folder / part / c).mkdir(parents=True)
            for i in range(number):
                Image.fromarray(picture(32, 32, i)).save(folder / part / c / f"{i}.jpg")


def test_unreadable_images_are_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path)
    bad = [tmp_path / "train" / "a" / "1.jpg", tmp_path / "train" / "b" / "5.jpg"]
    bad.append(tmp_path / "val" / "b" / "0.jpg")
    bad[0].write_bytes(bad[0].read_bytes()[:500])
    bad[1].write_text("no image")
    bad[2].unlink()
    bad[2].symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"a/1\.jpg cannot be read as an image"):
        load("folder", str(tmp_path)).train.pixel(1)
    told = "3 of 24 images cannot be read and are left out: "
    with pytest.warns(UserWarning, match=f"^{told}") as warned:
        source = load("folder", str(tmp_path), skip_corrupt=True, workers=3)
    (said,) = (str(w.message) for w in warned if told in str(w.message))
    assert all(str(path) in said for path in bad)
    assert source.skipped == tuple(map(str, bad))
    assert isinstance(source.train.files, Paths)
    assert isinstance(source.val.files, Paths)
    assert not {*source.train.files.paths, *source.val.files.paths} & {*bad}
    assert source.train.labels.tolist() == [0] * 5 + [1] * 5
    assert source.val.labels.tolist() == [0] * 6 + [1] * 5


def test_the_warning_names_five(tmp_path: Path) -> None:
    write(tmp_path)
    for i in range(6):
        (tmp_path / "train" / "a" / f"{i}.jpg").write_text("")
    with pytest.warns(UserWarning, match=r"4\.jpg; all of them are in the run's skipped\.txt$"):
        assert len(load("folder", str(tmp_path), skip_corrupt=True).skipped) == 6


def test_nothing_is_said_of_whole_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path)
    assert load("folder", str(tmp_path), skip_corrupt=True).skipped == ()
    assert load("digits", "", skip_corrupt=True).skipped == ()
    assert not capsys.readouterr().out
    load("folder", str(tmp_path), skip_corrupt=True, console=Console())
    assert "reading training images" in capsys.readouterr().out


@pytest.mark.parametrize(("part", "what"), [("train", "training"), ("val", "validation")])
def test_nothing_left_is_an_error(tmp_path: Path, part: str, what: str) -> None:
    write(tmp_path, 2)
    for file in (tmp_path / part).rglob("*.jpg"):
        file.write_text("no image")
    with pytest.raises(ValueError, match=f"--skip_corrupt: none of the 4 {what} images"):
        load("folder", str(tmp_path), skip_corrupt=True)
