"""Damaged images are found before the first step, copies in both parts are said."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

import main_contrastive
from cl.data import inspection
from cl.data.inspection import Inspection, decode_all
from cl.data.sets import Images, Paths, Source, UnreadableError, _copies, load
from cl.data.sets import in_files as in_files_of
from cl.data.sets._copies import copies
from tests.data.made import in_memory
from tests.data.test_state import write
from tests.data.test_stored import encoded, write_shard


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def wait(found: Inspection) -> None:
    assert found.process is not None
    found.process.join(20)


def test_a_damaged_image_is_found_and_a_whole_set_is_remembered(tmp_path: Path) -> None:
    folder, checked = write(tmp_path / "data", 12), tmp_path / "runs" / "checked_data.txt"
    damage(folder / "dog" / "7.png")
    images = load("folder", str(folder)).train
    with pytest.raises(UnreadableError, match=r"dog/7\.png cannot be read .*; --skip_corrupt"):
        Inspection([images], 2, checked).start()
    assert not checked.exists()
    (folder / "dog" / "7.png").unlink()
    images = load("folder", str(folder)).train
    for _ in range(2):
        found = Inspection([images, in_memory(2, 8)], 0, checked)
        found.start()
        found.start()  # as for another fit
        wait(found)
        assert len(checked.read_text().split()) == 1
    damage(folder / "cat" / "3.png")  # a file that changes is another one
    with pytest.raises(UnreadableError, match=r"cat/3\.png"):
        Inspection([images], 1, checked).start()


def test_what_is_found_later_ends_the_run_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "WAIT", 0.0)
    folder = write(tmp_path / "data", 12)
    damage(folder / "dog" / "7.png")
    found = Inspection([load("folder", str(folder)).train], 1, tmp_path / "checked")
    found.start()

    def train() -> None:
        for _ in range(200):
            found.check()
            time.sleep(0.1)

    with pytest.raises(UnreadableError, match=r"dog/7\.png"):
        train()
    found.check()  # it is said once
    assert found.process is not None
    wait(found)


def test_a_process_that_is_killed_ends_nothing(tmp_path: Path) -> None:
    found = Inspection([load("folder", str(write(tmp_path, 12))).train], 1, tmp_path / "checked")
    found.start()
    found.stop()
    found.check()
    Inspection([in_memory()], 1, tmp_path / "checked").start()  # in memory: nothing to check
    wait(found)


def test_where_nobody_listens_any_more_it_ends_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """As that of a run that was ended."""
    images = load("folder", str(write(tmp_path, 12))).train
    receiver, sender = multiprocessing.Pipe(duplex=False)
    receiver.close()
    args = [images], 1, tmp_path / "checked", sender
    process = multiprocessing.Process(target=decode_all, args=args)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore:1 of 24 images cannot be read")
def test_a_run_ends_before_its_first_step(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write(tmp_path / "data", 12)
    damage(folder / "cat" / "5.png")
    words = f"folder resnet6_w4 --data_folder {folder} --image_size 16 --batch_size 4 --epochs 1 "
    words += f"--num_workers 0 --no-baseline --wandb off --output {tmp_path} --run_id run "
    words += "--hidden_mlp 8 --encoding_size 8"
    assert main_contrastive.main(words.split()) == 2
    said = capsys.readouterr()
    assert "cat/5.png cannot be read as an image" in said.err
    assert "Traceback" not in said.err
    assert "epoch 1/1" not in said.out
    assert main_contrastive.main([*words.split(), "--skip_corrupt"]) == 0


def test_copies_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "train", 6)
    write(tmp_path / "val", 9, 6)
    source = load("folder", str(tmp_path))
    assert source.copied == ""
    for i in range(2):  # under other names, in another class
        copy = (tmp_path / "train" / "cat" / f"{i}.png").read_bytes()
        (tmp_path / "val" / "dog" / f"copy{i}.png").write_bytes(copy)
    source = load("folder", str(tmp_path))
    said = f"2 val images are copies of training images, {tmp_path}/val/dog/copy0.png for one"
    assert source.describe().endswith(f"; {said}")
    images = Images(np.zeros(4, np.int64), np.zeros((4, 8, 8, 3), np.uint8))
    assert Source("a", [], images, images).copied == ""  # in memory nothing is compared


def test_copies_in_shards_are_counted(tmp_path: Path) -> None:
    for shard, first in (("a", 0), ("b", 3)):
        made = {f"{shard}{i}.png": encoded(first + i) for i in range(4)}
        write_shard(tmp_path / f"{shard}.tar", made | {f"{shard}{i}.cls": b"0" for i in range(4)})
    source = load("webdataset:a.tar", str(tmp_path), None, "b.tar")
    assert copies(source.train, source.val) == ([0], 0)


def test_few_bytes_are_read_for_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, size = [tmp_path / f"{i}.bmp" for i in range(6)], _copies.BEGINNING + 1
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * size)
    images, read = in_files_of(files), []
    monkeypatch.setattr(Paths, "read", lambda self, at: read.append(at))
    train, val = images.subset(np.arange(3)), images.subset(np.arange(3, 6))
    assert copies(train, val) == ([], 0)  # their beginnings differ
    monkeypatch.undo()
    files[3].write_bytes(bytes(size))
    files[4].write_bytes(bytes([1]) * (size - 1) + b"x")
    assert copies(train, val) == ([0], 0)
    assert not read
    monkeypatch.setattr(_copies, "READ", 3 * size)
    assert copies(train, val) == ([0], 1)
    said = "1 val images were not compared with training images of their size"
    assert said in Source("a", [], train, val).copied
