"""What a run depends on besides its settings: its data, and how many processes there are."""

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import main_contrastive
from cl.config import from_json, parse_pretrain, to_json
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData, PlainLoader
from cl.data.sets import in_files as in_files_of
from cl.data.sets import load
from cl.data.sets._sums import data_checksum
from cl.data.sets._unpacked import uncompressed
from tests.data.made import in_memory, picture


def write(folder: Path, number: int, first: int = 0) -> Path:
    for c in ("cat", "dog"):
        (folder / c).mkdir(parents=True, exist_ok=True)
        for i in range(first, number):
            seed = 100 * (c == "dog") + i
            Image.fromarray(picture(8, 8, seed)).save(folder / c / f"{i}.png")
    return folder


def data_in(folder: Path, batch_size: int = 4) -> ContrastiveData:
    return ContrastiveData(load("folder", str(folder)), [Recipe(size=8)], batch_size=batch_size)


def test_a_name_that_is_no_text_is_summed_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "plain.png", os.fsdecode(b"caf\xe9.png")
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_bytes(b"1234")
    images = in_files_of(files)
    lines = (os.fsencode(f"{tmp_path.name}/{name} 4\n") for name in names)
    known = hashlib.sha256(images.labels.tobytes() + b"".join(lines)).hexdigest()
    assert data_checksum(images) == known
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files[1].write_bytes(gzip.compress(b"content"))
    assert uncompressed(files[1]).read_bytes() == b"content"


def test_other_data_are_not_resumed_on(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", 12)
    state = data_in(folder).state_dict()
    assert json.loads(json.dumps(state)) == state  # as a checkpoint keeps it
    data_in(folder.rename(tmp_path / "moved")).load_state_dict(state)
    folder = tmp_path / "moved"
    with pytest.raises(ValueError, match="but 8 samples in a step instead of 4; put back"):
        data_in(folder, 8).load_state_dict(state)
    write(folder, 24, 12)
    said = "44 training images instead of 22 and 4 validation images instead of 2; put back"
    with pytest.raises(ValueError, match=f"^--resume_training_from: .*{said}"):
        data_in(folder).load_state_dict(state)
    for c in ("cat", "dog"):
        for i in range(12, 24):
            (folder / c / f"{i}.png").unlink()
    (folder / "cat" / "3.png").rename(folder / "dog" / "90.png")
    with pytest.raises(ValueError, match="22 training images of other names, sizes or labels"):
        data_in(folder).load_state_dict(state)


def test_a_run_is_not_resumed_on_data_that_grew(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, out = write(tmp_path / "data", 12), tmp_path / "runs"
    words = f"folder resnet6_w4 --data_folder {folder} --image_size 16 --batch_size 8 --epochs 4 "
    words += f"--num_workers 0 --no-baseline --wandb off --output {out} --hidden_mlp 8 "
    words += "--encoding_size 8"
    stopped = [*words.split(), "--run_id", "run", "--epochs", "1"]
    assert main_contrastive.main(stopped) == 0
    file = out / "run" / "config.json"
    file.write_text(file.read_text().replace('"epochs": 1,', '"epochs": 2,'))
    write(folder, 24, 12)
    go_on = ["--config", str(file), "--resume_training_from", str(out / "run")]
    assert main_contrastive.main(go_on) == 2
    said = capsys.readouterr().err
    assert "44 training images instead of 22" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_process_without_an_image_has_an_empty_batch(number: int) -> None:
    images = in_memory(number, 8)
    shares = [[*PlainLoader(images, Recipe(size=8), 4, 0, rank, 3)] for rank in range(3)]
    assert torch.cat([b.index for share in shares for b in share]).tolist() == list(range(number))
    assert all(share and share[0].views[0].shape[2:] == (3, 8, 8) for share in shares)


def derived(text: str, **changes: Any) -> str:
    """A config.json with other settings, and what it says of the first."""
    return json.dumps(json.loads(text) | changes)


def test_an_edited_batch_size_counts() -> None:
    config = parse_pretrain(["digits", "resnet18", "--batch_size", "64", "--devices", "2"])
    text = to_json(config, {"global_batch_size": config.global_batch()})
    alone = derived(text, devices=None)
    assert from_json(alone).global_batch() == 128  # of as many processes as there were
    edited = from_json(derived(text, batch_size=16, devices=None))
    assert (edited.batch_size, edited.global_batch()) == (16, 32)
    before = json.loads(text)
    del before["derived"]["processes"]  # a file of before
    assert from_json(json.dumps(before)).global_batch() == 128
    assert from_json(json.dumps(before | {"batch_size": 48, "devices": None})).global_batch() == 48
