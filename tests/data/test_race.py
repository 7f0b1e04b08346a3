"""Processes that start at once fetch and unpack data once, and see none that are half there."""

import gzip
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from cl import locking
from cl.data.sets import _unpacked, load
from cl.data.sets._unpacked import uncompressed
from cl.locking import alone
from tests.data.test_sources import write_cifar

SLOW = 0.5  # s
CONTEXT = multiprocessing.get_context("spawn")


def note(folder: Path) -> None:
    with (folder / "notes").open("a") as file:
        file.write("fetched\n")


class SlowCIFAR(torchvision.datasets.CIFAR10):
    """Is there in part for a while."""

    def __init__(self, root: str, download: bool) -> None:
        assert download
        note(Path(root))
        (Path(root) / "packed").mkdir()
        write_cifar(Path(root) / "packed", "cifar10")
        files = sorted((Path(root) / "packed" / self.base_folder).iterdir())
        (Path(root) / self.base_folder).mkdir()
        for file in files:
            time.sleep(SLOW / len(files))
            shutil.move(file, Path(root) / self.base_folder)


class SlowFolders:
    """Takes a folder that is there for whole, as torchvision's Food101 does."""

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        place = Path(root) / "images"
        if download and not place.exists():
            note(Path(root))
            place.mkdir()
            time.sleep(SLOW)
            (place / "0").write_text("")
        self.targets = [0, 1] if (place / "0").exists() else []

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (8, 8)), index


def cifar(folder: Path) -> int:
    torchvision.datasets.CIFAR10 = SlowCIFAR
    return len(load("cifar10", str(folder), download=True).train)


def folders(folder: Path) -> int:
    torchvision.datasets.FashionMNIST = SlowFolders
    return len(load("torchvision:FashionMNIST", str(folder), download=True).train)


def shard(folder: Path) -> int:
    _unpacked.cache = lambda: folder / "cache"

    def copy(packed: Any, written: Any, size: int) -> None:
        note(folder)
        written.write(packed.read(size))
        written.flush()
        time.sleep(SLOW)
        written.write(packed.read())

    _unpacked.shutil.copyfileobj = copy
    return len(uncompressed(folder / "a.tar").read_bytes())


def started(load_one: Callable[[Path], int], folder: Path, both: Any, found: Any) -> None:
    both.wait()
    try:
        found.put(load_one(folder))
    except Exception as error:
        found.put(repr(error))
        raise


@pytest.mark.parametrize(("load_one", "number"), [(cifar, 10), (folders, 2), (shard, 2**21)])
def test_two_processes_fetch_it_once(
    load_one: Callable[[Path], int], number: int, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).bytes(2**21)
    (tmp_path / "a.tar").write_bytes(gzip.compress(noise, 1))
    both, found = CONTEXT.Barrier(2), CONTEXT.Queue()
    args = load_one, tmp_path, both, found
    processes = [CONTEXT.Process(target=started, args=args) for _ in range(2)]
    for process in processes:
        process.start()
    assert [found.get(timeout=300) for _ in processes] == [number, number]
    for process in processes:
        process.join()
    assert (tmp_path / "notes").read_text() == "fetched\n"
    assert not [*tmp_path.rglob("*.lock"), *tmp_path.rglob("*.new")]


def test_a_failed_fetch_is_said_and_lets_others_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "__init__", offline)
    with pytest.raises(ValueError, match=r"--download: no whole CIFAR10 .*\(no network\)"):
        load("cifar10", str(tmp_path), download=True)
    assert not [*tmp_path.iterdir()]


def test_what_is_there_is_not_fetched(tmp_path: Path) -> None:
    write_cifar(tmp_path, "cifar10")
    with pytest.warns(UserWarning, match="files differ"):
        assert len(load("cifar10", str(tmp_path), download=True).train) == 10


def test_a_folder_that_cannot_be_written_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with alone(tmp_path / "file" / "a.lock") as locked:
        assert not locked


def test_who_waits_says_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "QUIET", 0.0)
    lock, has = tmp_path / "data.lock", threading.Event()

    def hold() -> None:
        with alone(lock):
            has.set()
            time.sleep(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has.wait(10)
    says = pytest.warns(UserWarning, match=f"waiting for another process, which has {lock}")
    with says as said, alone(lock) as locked:
        assert locked
    assert len(said) == 1
    thread.join()
    assert not lock.exists()
