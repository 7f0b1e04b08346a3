"""Pictures of schedules and views: each has what it says, in its place."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from cl import pictures
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData
from cl.data.sets import Images, Source, in_files
from tests.data.made import in_memory

CELL = 3 * 32 + pictures.GAP  # 32 px are shown three times as large
TOP = 2 * pictures.LINE  # a line for the column, one for the row


def data(**changes: float) -> ContrastiveData:
    images = in_memory(number=12, side=32)
    recipes = [Recipe(size=32, **changes), Recipe(size=16, views=3)]
    return ContrastiveData(Source("made", ["a"], images, images), recipes, batch_size=10)


def test_schedules_are_drawn_over_steps_and_epochs() -> None:
    figure = pictures.draw_curves({"lr": [0, 0.5, 1, 0.25], "tau": [1, 1, 1, 1]}, per_epoch=2)
    lr, tau = figure.axes
    assert lr.get_lines()[0].get_xydata().tolist() == [[0, 0], [1, 0.5], [2, 1], [3, 0.25]]
    assert [axes.get_ylabel() for axes in (lr, tau)] == ["lr", "tau"]
    assert lr.get_title(loc="right") == "0 to 1, ends at 0.25"
    assert tau.get_xlabel() == "step"
    (above,) = lr.child_axes
    assert above.get_xlabel() == "epoch"
    figure.savefig(io.BytesIO())  # which gives the axis above its limits
    assert np.allclose(np.array(above.get_xlim()) * 2, lr.get_xlim())


def test_views_have_rows_and_columns() -> None:
    """16 px are in a cell of 32's size, six times as large."""
    made = pictures.draw_views(data())
    row = pictures.LINE + CELL
    assert made.size == (6 * CELL, pictures.LINE + pictures.ROWS * row)


def test_a_column_says_its_view_and_a_row_its_image() -> None:
    made = data()
    assert pictures.column_titles(made.recipes) == ["original"] + [
        f"view {i}, {32 if i < 3 else 16} px" for i in (1, 2, 3, 4, 5)
    ]
    assert pictures.column_titles([Recipe(size=32)]) == ["original", "view 1", "view 2"]
    rows = [*pictures.captions(made, np.array([3, 1]))]
    assert rows == ["image 3 (a)", "image 1"]  # of which one has no label


def test_images_of_files_have_their_names(tmp_path: Path) -> None:
    files = [tmp_path / f"photo{i}.png" for i in range(3)]
    for file in files:
        Image.new("RGB", (40, 40)).save(file)
    stored = in_files(files).files
    images = Images(np.array([0, 1, -1]), files=stored)
    source = Source("made", ["cat", "dog"], images, images)
    made = ContrastiveData(source, [Recipe(size=32)], batch_size=3)
    lines = [*pictures.captions(made, np.array([0, 2, 1]))]
    ends = ["photo0.png (cat)", "photo2.png", "photo1.png (dog)"]
    assert all(line.endswith(end) for line, end in zip(lines, ends, strict=True)), lines


def test_a_long_name_is_cut_at_its_beginning() -> None:
    font = ImageFont.load_default(pictures.INK)
    cut = pictures.fit_end("folder/" * 30 + "photo.jpg", 120, font)
    assert cut.startswith("...")
    assert cut.endswith("photo.jpg")
    assert font.getlength(cut) <= 120
    assert pictures.fit_end("a\x1b[31mb.jpg", 120, font) == "a\\x1b[31mb.jpg"


def test_views_that_change_nothing_are_the_image() -> None:
    plain = {"crop_scale": (1, 1), "crop_ratio": (1, 1), "flip": 0, "jitter": 0, "grayscale": 0}
    pixels = np.asarray(pictures.draw_views(data(**plain, blur=0)))[TOP:]
    first, second = (pixels[: 3 * 32, i * CELL : (i + 1) * CELL].astype(int) for i in (0, 1))
    assert np.abs(first - second).max() <= 1
    assert np.ptp(first[:, : 3 * 32]) > 100


def test_it_is_written(tmp_path: Path) -> None:
    pictures.plot_views(data(), tmp_path / "views.png")
    with Image.open(tmp_path / "views.png") as written:
        assert written.size == pictures.draw_views(data()).size
    with pytest.raises(ValueError, match=r"--show_views .*cannot be written"):
        pictures.plot_views(data(), tmp_path / "views.nothing")
