"""Features of a place, written by a command: those of `cl.embed`, each with its name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cl
from cl import checkpoints
from cl.embedding import embed_command
from cl.nets import encoders
from cl.nets.texts import encoder_of


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "encoder.safetensors"
    about = {"encoder": "resnet6_w4", "image_size": 16, "mean": [0.5] * 3, "std": [0.2] * 3}
    checkpoints.save_encoder(encoders.create("resnet6_w4", 16), file, about)
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "photos of mine", np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "deeper/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / name)
    return folder


def test_features_are_those_of_embed(weights: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.npy"
    assert embed_command([str(weights), str(photos), "--out", str(out), "--batch_size", "2"]) == 0
    names = (tmp_path / "features.txt").read_text().splitlines()
    assert names == ["a.jpg", "b.png", "deeper/c.png"]
    encoder, transform = cl.load_encoder(weights)
    images = [Image.open(photos / name).convert("RGB") for name in names]
    h, _ = cl.embed(encoder, images, transform=transform, batch_size=2)
    found = np.load(out)
    assert found.dtype == np.float32
    assert np.array_equal(found, h.numpy())
    assert not [*tmp_path.glob("*.new")]


def test_layers_are_named_as_an_evaluation_does(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(weights), str(photos), "--layer", "-2:mean", "stage2", "--out"]
    assert embed_command([*words, str(tmp_path / "h.npy")]) == 0
    encoder, transform = cl.load_encoder(weights)
    images = [Image.open(name).convert("RGB") for name in sorted(photos.rglob("*.*"))]
    h, _ = cl.embed(encoder, images, transform=transform, layer=("-2:mean", "stage2"))
    assert np.array_equal(np.load(tmp_path / "h.npy"), h.numpy())
    words[3:5] = ["stage9"]
    capsys.readouterr()
    assert embed_command([*words, str(tmp_path / "wrong.npy")]) == 2
    assert "--layer stage9: the encoder has no such module" in capsys.readouterr().err


def test_texts(tmp_path: Path) -> None:
    encoder = encoder_of("bag_w4")
    file, lines = tmp_path / "bag.safetensors", tmp_path / "lines.txt"
    about = {"encoder": "bag_w4", "max_length": [64, 64]}
    checkpoints.save_encoder(encoder, file, about)
    lines.write_text("a tree\n\na house\n")
    assert embed_command([str(file), str(lines), "--out", str(tmp_path / "h.npy")]) == 0
    h, _ = cl.embed(encoder, ["a tree", "a house"])
    assert np.allclose(np.load(tmp_path / "h.npy"), h.numpy(), atol=1e-6)
    assert (tmp_path / "h.txt").read_text().splitlines() == ["a tree", "a house"]
    with pytest.raises(ValueError, match="--layer needs an encoder of images"):
        cl.embed(encoder, ["a tree"], layer=("0",))


def test_damaged_images(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    words = [str(weights), str(photos), "--out", str(tmp_path / "h.npy")]
    assert embed_command(words) == 2
    assert "bad.png" in capsys.readouterr().err
    assert not [*tmp_path.glob("h.*")]
    assert embed_command([*words, "--skip_corrupt"]) == 0
    assert len(np.load(tmp_path / "h.npy")) == 3


WRONG = {
    "--out h.pt: the name must end in .npy": ["RUN", ".", "--out", "h.pt"],
    "--out no/h.npy: there is no folder no": ["RUN", ".", "--out", "no/h.npy"],
    "there is there.npy, and it is not overwritten": ["RUN", ".", "--out", "there.npy"],
    "RUN nowhere: no such file or folder": ["nowhere", ".", "--out", "h.npy"],
    "PLACE: no images in empty": ["RUN", "empty", "--out", "h.npy"],
    "PLACE: there.npy holds no images": ["RUN", "there.npy", "--out", "h.npy"],
    "PLACE: encoder.safetensors is no folder, list or array": [
        *("RUN", "encoder.safetensors", "--out", "h.npy")
    ],
    "--device gpu: this machine has cpu": ["RUN", "photos", "--out", "h.npy", "--device", "gpu"],
    "--device cuda:99: this machine has cpu": [
        *("RUN", "photos", "--out", "h.npy", "--device", "cuda:99")
    ],
    "PLACE: there is no nothing": ["RUN", "nothing", "--out", "h.npy"],
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("RUN PLACE", "the following arguments are required: --out"),
        ("RUN PLACE --ouy h.npy", "the following arguments are required: --out"),
        (
            "RUN PLACE --out h.npy --image_size 0",
            "--image_size: must be a whole number of at least",
        ),
        (
            "RUN PLACE --out h.npy --batch_size x",
            "--batch_size: must be a whole number of at least",
        ),
        ("RUN PLACE --out h.npy --num_workers -1", "whole number of at least 0, not -1"),
    ],
)
def test_a_wrong_word_is_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        embed_command(words.split())
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_one_line(
    weights: Path,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npy").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "photos" / "1.png")
    assert embed_command([str(weights) if word == "RUN" else word for word in WRONG[message]]) == 2
    said = capsys.readouterr().err.replace("loading PyTorch ...\n", "")
    assert message in said
    assert said.count("\n") == 1
