"""A data set that only a test knows: its file is all that it takes, in the package or outside."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cl.data.sets
from cl.config import datasets, parse_pretrain, schema, signature
from cl.data.sets import NAMES, _rows
from cl.metrics import read_metrics

Run = Callable[..., Path]
FLOWERS = '''"""Flowers."""

import numpy as np

from cl.data.sets import Images, Source, Where, split

ROW = {
    "help": "96 painted flowers, 3 classes",
    "size": 24,
    "mean": (0.5, 0.4, 0.3),
    "class_folders": True,
    "data_folder": False,
}


def read(name: str, where: Where) -> Source:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 24, 24, 3), np.uint8)
    train, val = split(Images(np.arange(96) % 3, pixels), 0.25)
    return Source(name, ["rose", "tulip", "daisy"], train, val, "painted")
'''
SHORT = (
    "resnet6_w8 --max_steps 2 --batch_size 16 --num_workers 1 --hidden_mlp 64 --encoding_size 32 "
    "--precision 32 --no-baseline"
).split()


@pytest.fixture
def flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file among those of the data sets."""
    folder = shutil.copytree(datasets.SETS, tmp_path / "sets")
    (folder / "flowers.py").write_text(FLOWERS)
    monkeypatch.setattr(datasets, "SETS", folder)
    monkeypatch.setattr(_rows, "NAMES", sorted([*NAMES, "flowers"]))
    monkeypatch.setattr(cl.data.sets, "__path__", [*cl.data.sets.__path__, str(folder)])
    forget()
    yield "flowers"
    monkeypatch.undo()
    forget()


def forget() -> None:
    """What was read of the files of data sets is read anew."""
    for module in (datasets, schema, signature):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    sys.modules.pop("cl.data.sets.flowers", None)


def test_a_file_is_all_that_a_data_set_takes(
    flowers: str, pretrain: Run, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        parse_pretrain(["--help", "all"])
    said = " ".join(capsys.readouterr().out.split())
    assert "folder (any set with a folder for each class), flowers (96 painted flowers, 3" in said
    assert "needs DATASET imagenet100, imagenet, folder or flowers" in said
    assert "(default: digits 16, flowers 24, cifar10 cifar100 svhn 32, " in said
    assert parse_pretrain([flowers, "resnet18", "--train_dir", "a"]).resolved_image_size == 24
    run = pretrain(flowers, *SHORT)
    assert "flowers: 72 train / 24 val, 3 classes; painted" in capsys.readouterr().out
    assert int(read_metrics(run / "metrics.csv")[-1]["step"]) == 2


def test_a_users_own_trains_and_is_evaluated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pretrain: Run,
    linear: Run,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "garden.py").write_text(FLOWERS)
    monkeypatch.syspath_prepend(tmp_path)
    run = pretrain("garden:read", *SHORT)
    said = capsys.readouterr().out
    assert "garden:read: 72 train / 24 val, 3 classes; painted" in said
    assert "2 of 24 px" in said
    given = ("--pretrained_feature_extractor", run, "--eval", "knn", "--precision", "32")
    done = linear("garden:read", "resnet6_w8", *given, "--num_workers", "1")
    assert '"dataset": "garden:read"' in (done / "cards.json").read_text()
