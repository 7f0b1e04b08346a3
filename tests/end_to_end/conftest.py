"""A made image folder, and the two programs as functions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main_contrastive
import main_linear

COLORS = {"red": (220, 20, 30), "green": (20, 200, 40), "blue": (30, 40, 230)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`imagenet-100/{train,test}` with 4 classes of plain colors under noise, as JPEG."""
    root, rng = tmp_path_factory.mktemp("datasets"), np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 4)):
        for c in range(4):
            place = root / "imagenet-100" / split / f"class{c}"
            place.mkdir(parents=True)
            for i in range(n):
                color = np.array([(c & 1) * 200, (c & 2) * 100, 60])
                pixels = (color + rng.integers(0, 50, (48, 40, 3))).clip(0, 255).astype("uint8")
                Image.fromarray(pixels).save(place / f"{i}.jpg")
    return root


@pytest.fixture
def pretrain(tmp_path: Path) -> Callable[..., Path]:
    """Runs main_contrastive.py on digits or on given words, and gives the run's folder."""

    def go(*words: object, run_id: str = "run", expect: int = 0) -> Path:
        argv = [*map(str, words), "--output", str(tmp_path), "--wandb", "off", "--no-report"]
        assert main_contrastive.main([*argv, "--run_id", run_id]) == expect
        return tmp_path / run_id

    return go


@pytest.fixture
def linear(tmp_path: Path) -> Callable[..., Path]:
    """The same for main_linear.py."""

    def go(*words: object, run_id: str = "linear", expect: int = 0) -> Path:
        argv = [*map(str, words), "--output", str(tmp_path), "--wandb", "off", "--no-report"]
        assert main_linear.main([*argv, "--run_id", run_id]) == expect
        return tmp_path / run_id

    return go


DIGITS = (
    "digits resnet6_w8 --epochs 2 --batch_size 128 --num_workers 1 --hidden_mlp 64 "
    "--encoding_size 32 --precision 32 --warmup_epochs 1"
).split()


@pytest.fixture
def digits() -> list[str]:
    return list(DIGITS)


@pytest.fixture
def colors(tmp_path: Path) -> list[str]:
    """A folder for each color, of images of unequal sides."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 2), ("test", 4)):
        for name, color in COLORS.items():
            place = tmp_path / "colors" / part / name
            place.mkdir(parents=True)
            for i in range(number):
                noise = rng.integers(-20, 20, (20 + i, 26, 3))
                pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    words = ["--data_folder", str(tmp_path), "--train_dir", "colors/train"]
    return ["folder", *words, "--val_dir", "colors/test"]
