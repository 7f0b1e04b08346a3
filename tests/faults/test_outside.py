"""What a data set names lies where the data set does, and an archive's members lead nowhere."""

import io
import json
import os
import pickle
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl.commands import pretrain_command
from cl.compare.__main__ import main as compare
from cl.data.sets import UnreadableError, load
from cl.data.sets._decode import decode
from cl.data.sets._inside import file_inside
from cl.data.sets._sums import data_checksum
from cl.data.sets._values import Decoding
from tests.data.made import picture


def png(seed: int = 0) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture(12, 16, seed)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """An image outside of the data set's folder, `tmp_path/data`."""
    (tmp_path / "data" / "in").mkdir(parents=True)
    (tmp_path / "data-too").mkdir()
    for file in ("secret.png", "data-too/a.png", "data/a.png", "data/in/b.png"):
        (tmp_path / file).write_bytes(png())
    return tmp_path / "secret.png"


OUTSIDE = ("../secret.png", "{root}/secret.png", "in/../../secret.png", "../data-too/a.png")
OUTSIDE += ("/etc/passwd", "/dev/zero", "..", "a\0.png")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_leads_out_of_no_folder(tmp_path: Path, secret: Path, name: str) -> None:
    with pytest.raises(ValueError, match="outside of the data set's folder"):
        file_inside(name.format(root=tmp_path), tmp_path / "data")


@pytest.mark.parametrize(
    "name", ["a.png", "in/b.png", "in/../a.png", "./a.png", "{root}/data/a.png"]
)
def test_a_name_inside_is_taken(tmp_path: Path, secret: Path, name: str) -> None:
    assert file_inside(name.format(root=tmp_path), tmp_path / "data").read_bytes() == png()


def test_a_relative_folder_and_a_link_are_the_user_s(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "link.png").symlink_to(secret)
    monkeypatch.chdir(tmp_path)
    assert file_inside("link.png", Path("data")).read_bytes() == png()
    with pytest.raises(ValueError, match="outside"):
        file_inside("../secret.png", Path("data"))
    with pytest.raises(ValueError, match="outside"):
        file_inside("../secret.png", Path())


@pytest.mark.parametrize("name", OUTSIDE)
def test_captions_name_images_of_their_folder(tmp_path: Path, secret: Path, name: str) -> None:
    line = json.dumps({"image": name.format(root=tmp_path), "captions": ["a"]})
    (tmp_path / "data" / "list.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"list\.jsonl, line 1: .* lies outside of the data set's"):
        load("captions:list.jsonl", str(tmp_path / "data"))


def test_captions_may_name_images_of_the_data_folder(tmp_path: Path, secret: Path) -> None:
    lines = [json.dumps({"image": f"../{n}", "captions": ["a"]}) for n in ("a.png", "in/b.png")]
    (tmp_path / "data" / "lists").mkdir()
    (tmp_path / "data" / "lists" / "list.jsonl").write_text("\n".join(lines))
    source: Any = load("captions:lists/list.jsonl", str(tmp_path / "data"))
    assert len(source.train) + len(source.val) == 2


@pytest.mark.parametrize("name", OUTSIDE)
def test_rows_name_images_of_their_folder(tmp_path: Path, secret: Path, name: str) -> None:
    library = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    place = tmp_path / "data" / "rows"
    paths = [name.format(root=tmp_path), str(place / "inside.png")]
    # Of a column of images the library stores the bytes, of any other it does not.
    stored = {"bytes": library.Value("binary"), "path": library.Value("string")}
    table = {
        "label": [i % 2 for i in range(8)],
        "x": [{"bytes": None, "path": paths[i % 2]} for i in range(8)],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = library.Features({"label": library.Value("int64"), "x": stored})
        library.Dataset.from_dict(table, features).save_to_disk(str(place))
    info = json.loads((place / "dataset_info.json").read_text())
    info["features"]["x"] = {"_type": "Image"}
    (place / "dataset_info.json").write_text(json.dumps(info))
    (place / "inside.png").write_bytes(png(1))
    source = load("huggingface:rows", str(tmp_path / "data"))
    for part in (source.train, source.val):
        for i in range(len(part)):
            if part.labels[i] == 1:
                assert np.array_equal(part.pixel(i), picture(12, 16, 1))
            else:
                with pytest.raises(UnreadableError, match="outside of the data set's folder"):
                    part.pixel(i)
        data_checksum(part)  # of the file's name and size, which is of none outside
    assert len(source.train) + len(source.val) == 8


def shard(folder: Path, members: list[tarfile.TarInfo]) -> str:
    with tarfile.open(folder / "a.tar", "w") as tar:
        for member in members:
            content = png() if member.name.endswith("png") else b"0"
            if member.isreg():
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return "webdataset:a.tar"


def members(*names: str) -> list[tarfile.TarInfo]:
    return [tarfile.TarInfo(f"{name}.{end}") for name in names for end in ("png", "cls")]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_shard_with_a_link_is_refused(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = kind, "/etc/passwd"
    name = shard(tmp_path, [*members("a", "b"), link])
    with pytest.raises(ValueError, match=r"link\.png is a link to /etc/passwd"):
        load(name, str(tmp_path))


def test_names_and_devices_of_a_shard_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    device = tarfile.TarInfo("zero.png")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
    pipe = tarfile.TarInfo("pipe.png")
    pipe.type = tarfile.FIFOTYPE
    names = [f"{place}{i}" for i in range(5) for place in ("../../up", "/abs", "d/")]
    name = shard(tmp_path / "data", [*members(*names), device, pipe])
    before = sorted(tmp_path.rglob("*"))
    source = load(name, str(tmp_path / "data"))
    assert len(source.train) + len(source.val) == 15
    assert np.array_equal(source.train.pixel(0), picture(12, 16))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("size", [2**62, 10**10])
def test_a_member_that_claims_more_than_there_is_is_named(tmp_path: Path, size: int) -> None:
    name = shard(tmp_path, members("a", "b"))
    raw, wrong = (tmp_path / "a.tar").read_bytes(), tarfile.TarInfo("b.cls")
    wrong.size = size
    at = raw.rindex(b"b.cls")
    content = raw[:at] + wrong.tobuf(tarfile.GNU_FORMAT) + b"0"
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.cls is not stored whole"):
        load(name, str(tmp_path))


class Code:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_an_array_with_a_pickle_is_no_image(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.empty(2, object)
    objects[:] = [Code(), Code()]
    content = io.BytesIO()
    np.save(content, objects, allow_pickle=True)
    for raw in (content.getvalue(), pickle.dumps(Code())):
        with pytest.raises(UnreadableError):
            decode(raw, "x.npy", Decoding(channels=2))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "plan.yaml", "plan.toml"])
def test_a_configuration_is_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    """YAML that would run code is not JSON or TOML, whatever the file is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text('dataset: !!python/object/apply:os.mkdir ["ran"]\n')
    program = compare if name == "plan.toml" else pretrain_command
    words = [name] if name == "plan.toml" else ["--config", name]
    assert program(words) == 2
    assert name in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
