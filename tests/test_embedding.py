"""Features of a place, written by a command: those of `cl.embed`, each with its name."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import cl
from cl import checkpoints
from cl.embedding import embed_command
from cl.nets import encoders
from cl.nets.texts import encoder_of


def saved(file: Path, channels: int = 3, **more: object) -> Path:
    """The file of an encoder with random weights, and what its run was told."""
    torch.manual_seed(0)
    about = {"encoder": "resnet6_w4", "image_size": 16, **more}
    about |= {"mean": [0.5] * channels, "std": [0.2] * channels}
    checkpoints.save_encoder(encoders.create("resnet6_w4", 16, channels=channels), file, about)
    return file


def embedded(weights: Path, place: Path) -> np.ndarray:
    """The features that the command writes."""
    out = weights.with_name(f"{weights.stem}-{place.stem}.npy")
    assert embed_command([str(weights), str(place), "--out", str(out)]) == 0
    return np.load(out)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "encoder.safetensors")


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


def test_photos_are_turned_unless_the_run_was_told_otherwise(tmp_path: Path) -> None:
    folder, exif = tmp_path / "photos", Image.Exif()
    folder.mkdir()
    exif[ExifTags.Base.Orientation] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png", exif=exif)
    for name, told in {"unsaid": {}, "told": {"exif_orientation": False}}.items():
        file = saved(tmp_path / f"{name}.safetensors", **told)
        encoder, transform = cl.load_encoder(file)
        upright = pixels if told else np.rot90(pixels, k=-1).copy()
        expected, _ = cl.embed(encoder, [upright], transform=transform)
        photo, _ = cl.embed(encoder, [Image.open(folder / "a.png")], transform=transform)
        assert torch.equal(photo, expected)
        assert np.array_equal(embedded(file, folder), expected.numpy())


def test_values_become_pixels_as_in_the_run(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (2, 20, 20)).astype(np.uint16)
    (tmp_path / "deep").mkdir()
    Image.fromarray(values[0]).save(tmp_path / "deep" / "a.png")
    np.save(tmp_path / "several.npy", values)
    file = saved(tmp_path / "encoder.safetensors", value_range=[0, 1000])
    encoder, transform = cl.load_encoder(file)
    for place, given in {"deep": values[:1], "several.npy": values}.items():
        expected, _ = cl.embed(encoder, [*given], transform=transform)
        assert np.array_equal(embedded(file, tmp_path / place), expected.numpy())


@pytest.mark.parametrize("channels", [1, 4])
def test_images_have_the_channels_of_the_run(channels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (20, 20, channels), np.uint8)
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", values)
    file = saved(tmp_path / "encoder.safetensors", channels)
    encoder, transform = cl.load_encoder(file)
    h, _ = cl.embed(encoder, [values], transform=transform)
    assert np.array_equal(embedded(file, tmp_path / "images"), h.numpy())


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
    lines.write_text("a tree\n\nof a house\n")
    assert embed_command([str(file), str(lines), "--out", str(tmp_path / "h.npy")]) == 0
    h, _ = cl.embed(encoder, ["a tree", "of a house"])
    alone = [cl.embed(encoder, [text])[0] for text in ("a tree", "of a house")]
    torch.testing.assert_close(h, torch.cat(alone))
    assert np.allclose(np.load(tmp_path / "h.npy"), h.numpy(), atol=1e-6)
    assert (tmp_path / "h.txt").read_text().splitlines() == ["a tree", "of a house"]
    with pytest.raises(ValueError, match="--layer needs an encoder of images"):
        cl.embed(encoder, ["a tree"], layer=("0",))


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("a tree\na\n", "1 of 2 texts"),
        ("a tree\na\na tree\na\n", "1 of 2 different texts"),
    ],
)
def test_a_warning_is_one_line(
    texts: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the texts that were looked at, and without a place in the code."""
    about = {"encoder": "bag_w4", "max_length": [4, 4]}
    file, lines = tmp_path / "bag.safetensors", tmp_path / "lines.txt"
    checkpoints.save_encoder(encoder_of("bag_w4"), file, about)
    lines.write_text(texts)
    shown = warnings.showwarning
    assert embed_command([str(file), str(lines), "--out", str(tmp_path / "h.npy")]) == 0
    _, warned = capsys.readouterr().err.split("\n", 1)  # behind the line about PyTorch
    longer = f"{said} of {lines} are longer than the 4 tokens that are used of a text"
    assert warned == f"warning: {longer}; their ends are cut off\n"
    assert warnings.showwarning is shown


def test_json_is_no_file_of_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"encoder": "bag_w4", "max_length": [64, 64]}
    checkpoints.save_encoder(encoder_of("bag_w4"), tmp_path / "bag.safetensors", about)
    for name in ("c.jsonl", "c.json.gz"):
        (tmp_path / name).write_text('{"image": "1.png", "captions": ["a tree"]}')
        words = [str(tmp_path / word) for word in ("bag.safetensors", name)]
        assert embed_command([*words, "--out", str(tmp_path / "h.npy")]) == 2
        assert f"{name} is JSON, and is to have a text a line" in capsys.readouterr().err


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


def test_what_is_left_out_is_said(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad.png", "notes.txt", ".hidden.png"):
        (photos / name).write_bytes(b"no image")
    words = [str(weights), str(photos), "--out", str(tmp_path / "h.npy"), "--skip_corrupt"]
    assert embed_command(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "left out: 1 .txt, 1 hidden" in said
    assert f"left out: 1 of 4 images cannot be read, {photos / 'bad.png'} for one" in said


def test_an_end_in_its_midst_leaves_nothing(
    weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def broken(self: Path, text: str, **how: str) -> None:
        write(self, text[:3], **how)
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", broken)
        words = [str(weights), str(photos), "--out", str(tmp_path / "h.npy")]
        assert embed_command(words) == 2
    assert not [*tmp_path.glob("h.*")]


def test_a_precision_is_that_of_an_evaluation(weights: Path, photos: Path, tmp_path: Path) -> None:
    """By default of float32; bf16 rounds each product to 8 bits."""
    encoder, transform = cl.load_encoder(weights)
    images = [Image.open(name) for name in sorted(photos.rglob("*.*"))]
    exact, _ = cl.embed(encoder, images, transform=transform)
    with warnings.catch_warnings():  # where it is emulated
        warnings.simplefilter("ignore")
        h, _ = cl.embed(encoder, images, transform=transform, precision="bf16")
        words = [str(weights), str(photos), "--precision", "bf16", "--out"]
        assert embed_command([*words, str(tmp_path / "h.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "h.npy"), h.numpy())
    assert not torch.equal(h, exact)
    torch.testing.assert_close(h, exact, atol=0.05, rtol=0.05)


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


@pytest.mark.filterwarnings("default::UserWarning")
def test_whose_a_flag_is_that_the_command_does_not_have(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message of what all programs share may name one of theirs."""
    (tmp_path / "deep").mkdir()
    values = np.linspace(300, 400, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep/1.tiff")
    words = [str(weights), str(tmp_path / "deep"), "--out", str(tmp_path / "h.npy")]
    assert embed_command(words) == 0
    said = capsys.readouterr().err
    assert "which become 0 and 255 (--value_range is a flag of main_linear.py)\n" in said
    (tmp_path / "deep/1.tiff").unlink()
    np.save(tmp_path / "deep/1.npy", np.zeros((16, 16, 5)))
    of_five = saved(tmp_path / "five.safetensors", channels=5)
    words = [str(of_five), *words[1:3], str(tmp_path / "other.npy")]
    assert embed_command(words) == 2
    said = capsys.readouterr().err
    assert said.endswith("MIN MAX, or auto (--value_range is a flag of main_linear.py)\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--side", "query", "--query_prompt", "x"], "--query_prompt 'x' needs a transformer"),
        (["--side", "document", "--document_prompt", "x"], "--document_prompt 'x' needs a trans"),
        (["--side", "image"], "--side image needs a run on images and texts"),
    ],
)
def test_the_flags_of_texts_are_called_as_they_were_given(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"encoder": "bag_w4", "max_length": [64, 64]}
    checkpoints.save_encoder(encoder_of("bag_w4"), tmp_path / "bag.safetensors", about)
    (tmp_path / "lines.txt").write_text("a tree")
    place = [str(tmp_path / name) for name in ("bag.safetensors", "lines.txt")]
    assert embed_command([*place, "--out", str(tmp_path / "h.npy"), *words]) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_a_prompt_of_images_is_called_as_it_was_given(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(weights), str(photos), "--out", str(tmp_path / "h.npy"), "--side", "query"]
    assert embed_command([*words, "--query_prompt", "x"]) == 2
    said = "--side query or document, and --query_prompt, need an encoder of texts\n"
    assert capsys.readouterr().err.endswith(said)
    with pytest.raises(ValueError, match=r"^side query or document, and prompt, need an encoder"):
        cl.load_encoder(weights, side="query", prompt="x")
