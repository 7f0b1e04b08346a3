"""The contact sheet: a row for each sample, the plain image first."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl.data import sheet
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData
from cl.data.sets import Source
from tests.data.made import in_memory


def data(**changes: float) -> ContrastiveData:
    images = in_memory(number=12, side=32)
    recipes = [Recipe(size=32, **changes), Recipe(size=16, views=3)]
    return ContrastiveData(Source("made", ["a"], images, images), recipes, batch_size=10)


def test_rows_and_columns() -> None:
    """32 px are shown three times as large, 16 px in a cell of that size six times."""
    cell = 3 * 32 + sheet.GAP
    assert sheet.sheet(data()).size == (6 * cell, sheet.ROWS * cell)


def test_views_that_change_nothing_are_the_image() -> None:
    plain = {"crop_scale": (1, 1), "crop_ratio": (1, 1), "flip": 0, "jitter": 0, "grayscale": 0}
    pixels = np.asarray(sheet.sheet(data(**plain, blur=0)))
    cell = 3 * 32 + sheet.GAP
    first, second = pixels[:, :cell].astype(int), pixels[:, cell : 2 * cell]
    assert np.abs(first - second).max() <= 1
    assert np.ptp(first[: 3 * 32, : 3 * 32]) > 100


def test_it_is_written(tmp_path: Path) -> None:
    sheet.write(data(), tmp_path / "views.png")
    with Image.open(tmp_path / "views.png") as written:
        assert written.size == sheet.sheet(data()).size
    with pytest.raises(ValueError, match=r"--show_views .*cannot be written"):
        sheet.write(data(), tmp_path / "views.nothing")
