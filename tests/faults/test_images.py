"""Images that would take a worker's memory, and what has an image's name and is no file."""

import io
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from torchvision.datasets import ImageFolder

import main_contrastive
from cl.data import sets
from cl.data.sets import Decoding, UnreadableError
from cl.data.sets._decode import decode
from cl.data.sets._walk import SUFFIXES, Walk, holds_images
from tests.data.made import picture

SIDE = 13_000  # px: 169 megapixels, which would take 1.6 GB
RUN = "--image_size 16 --batch_size 4 --epochs 1 --num_workers 0 --no-baseline --wandb off"
RUN += " --no-report --encoding_size 8 --precision 32"


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a large image fails the test."""
    prepare = ImageFile.ImageFile.load_prepare

    def small(image: ImageFile.ImageFile) -> None:
        assert image.width * image.height < SIDE**2, "memory was taken for it"
        prepare(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", small)


def bomb(kind: str = "PNG", mode: str = "1") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(content, kind, compression="tiff_deflate")
    return content.getvalue()


def write(folder: Path) -> Path:
    """A folder of two classes."""
    for c in ("cat", "dog"):
        (folder / c).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(picture(20, 20, i)).save(folder / c / f"{i}.png")
    return folder


def pretrain(tmp_path: Path, words: str) -> int:
    return main_contrastive.main([*words.split(), *RUN.split(), "--output", str(tmp_path / "runs")])


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF"])
def test_a_bomb_is_refused_before_it_is_decoded(kind: str) -> None:
    with pytest.raises(UnreadableError, match=r"b\.x cannot be read .*--max_pixels"):
        decode(bomb(kind), "b.x")


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("how", [Decoding(channels=1), Decoding((0, 255), 1), Decoding((0, 255))])
def test_with_any_way_of_decoding(how: Decoding) -> None:
    with pytest.raises(UnreadableError, match="--max_pixels"):
        decode(bomb(), "b.png", how)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "npy"])
def test_the_limit_is_exact(kind: str) -> None:
    content, pixels = io.BytesIO(), picture(20, 30)
    if kind == "npy":
        np.save(content, pixels)
    else:
        Image.fromarray(pixels).save(content, kind)
    at = Decoding(max_pixels=600)
    assert decode(content.getvalue(), "a", at).shape == (20, 30, 3)
    with pytest.raises(UnreadableError, match="--max_pixels 599 allows"):
        decode(content.getvalue(), "a", Decoding(max_pixels=599))


def test_the_limit_can_be_raised() -> None:
    content = io.BytesIO()
    Image.new("1", (14_000, 14_000)).save(content, "PNG")  # beyond twice PIL's own limit
    how = Decoding(channels=1, max_pixels=14_000**2)
    assert decode(content.getvalue(), "a", how).shape == (14_000, 14_000, 1)


def test_every_page_is_measured() -> None:
    content = io.BytesIO()
    pages = [Image.new("L", (size, size)) for size in (8, 40)]
    pages[0].save(content, "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableError, match="--max_pixels 100 allows, 40 x 40"):
        decode(content.getvalue(), "a", Decoding(channels=2, max_pixels=100))


@pytest.mark.usefixtures("undecoded")
def test_a_data_set_that_opens_files_itself(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "cat" / "11.png").write_bytes(bomb())
    data = sets.from_dataset(ImageFolder(str(tmp_path)), decoding=Decoding(max_pixels=10**6))
    assert data.train.files is None or len(data.train) + len(data.val) == 24
    bad = [at for at in range(24) if not readable_item(data, at)]
    assert len(bad) == 1


def readable_item(data: sets.Source, at: int) -> bool:
    images = data.train if at < len(data.train) else data.val
    try:
        images.pixel(at if images is data.train else at - len(data.train))
    except UnreadableError:
        return False
    return True


def in_folder(place: Path) -> str:
    (write(place / "data") / "cat" / "5.png").write_bytes(bomb())
    return f"folder resnet6_w4 --data_folder {place / 'data'}"


def in_shards(place: Path) -> str:
    with tarfile.open(place / "a.tar", "w") as tar:
        for i in range(24):
            content = io.BytesIO()
            Image.fromarray(picture(20, 20, i)).save(content, "PNG")
            image = bomb() if i == 5 else content.getvalue()
            for name, data in ((f"{i}.png", image), (f"{i}.cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return f"webdataset:a.tar resnet6_w4 --data_folder {place}"


def with_captions(place: Path) -> str:
    (write(place) / "cat" / "5.png").write_bytes(bomb())
    lines = [
        f'{{"image": "{c}/{i}.png", "captions": ["{c} number {i}"]}}\n'
        for c in ("cat", "dog")
        for i in range(12)
    ]
    (place / "a.jsonl").write_text("".join(lines))
    words = f"captions:a.jsonl resnet6_w4 --data_folder {place} --text_encoder bag_w4"
    return words + " --method clip"


def in_a_saved_data_set(place: Path) -> str:
    datasets = pytest.importorskip("datasets")
    files = sorted(write(place / "files").rglob("*.png"))
    files[5].write_bytes(bomb())
    rows = {"image": [str(file) for file in files], "label": [i % 2 for i in range(24)]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(place / "saved"))
    return f"huggingface:saved resnet6_w4 --data_folder {place}"


PLACES = [in_folder, in_shards, with_captions, in_a_saved_data_set]


@pytest.mark.usefixtures("undecoded")
@pytest.mark.filterwarnings("ignore:DATASET .* gray levels")
@pytest.mark.parametrize("made", PLACES, ids=lambda made: made.__name__)
def test_a_run_is_ended_in_one_line(
    made: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert pretrain(tmp_path, made(tmp_path)) == 2
    said = capsys.readouterr().err
    assert f"it has more pixels than --max_pixels {sets.MAX_PIXELS} allows" in said
    assert "Traceback" not in said


@pytest.mark.filterwarnings("ignore:1 of 24 images cannot be read")
def test_or_the_image_is_left_out(tmp_path: Path) -> None:
    words = in_folder(tmp_path)
    assert pretrain(tmp_path, f"{words} --run_id run --skip_corrupt") == 0
    assert "5.png" in (tmp_path / "runs" / "run" / "skipped.txt").read_text()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(place)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")  # has no end


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("absent.png")


KINDS = [pipe, listener, device, linked_pipe, loop, nowhere]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("made", KINDS, ids=lambda made: made.__name__)
def test_what_is_no_file_is_not_waited_for(
    made: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What lies in the folder is counted as left out; what a link leads to ends the run."""
    made(write(tmp_path / "data") / "cat" / "x.png")
    left_out = made in (pipe, listener)
    code = pretrain(tmp_path, f"folder resnet6_w4 --data_folder {tmp_path / 'data'}")
    said = capsys.readouterr()
    assert code == (0 if left_out else 2), said.err
    assert "Traceback" not in said.err
    if left_out:
        assert "1 pipes, sockets and devices" in " ".join(said.out.split())
    else:
        assert "x.png cannot be read as an image" in " ".join(said.err.split())


@pytest.mark.timeout(120)
def test_loops_of_folders_end(tmp_path: Path) -> None:
    """Links to the folder above, of which each way through eight of them would be another path."""
    for i in range(30):
        (tmp_path / f"link{i}").symlink_to(tmp_path)
    assert not holds_images(tmp_path, SUFFIXES)
    Image.fromarray(picture(8, 8)).save(tmp_path / "a.png")
    assert holds_images(tmp_path, SUFFIXES)
    assert [*Walk().images(tmp_path)] == [str(tmp_path / "a.png")]
