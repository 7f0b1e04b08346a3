"""Images of other channels than RGB: arrays, bands and pages, in every backend, to the encoder."""

import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import main_contrastive
import main_linear
from cl import embed, evaluate, load_encoder
from cl.build import encoder_metadata
from cl.config import Pretrain, configure
from cl.data.augment.recipe import Recipe
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.data.module import ContrastiveData, PlainLoader
from cl.data.sets import DECODING, Decoding, Images, Source, from_dataset, in_files, load
from cl.data.sets._decode import UnreadableError, decode
from cl.data.sets._levels import measure_statistics
from cl.data.sets._values import to_bytes
from cl.evaluation import Transform
from cl.nets import encoders
from tests.data.made import are_rounded, picture
from tests.data.test_loaders import by_sample, epoch, make_loader
from tests.data.test_values import stored

FIVE = np.concatenate([picture(20, 30), picture(20, 30, 1)[..., :2]], axis=2)


def tiff_pages(bands: np.ndarray) -> bytes:
    file, pages = io.BytesIO(), [Image.fromarray(b) for b in np.moveaxis(bands, 2, 0)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "channels", "expected"),
    [
        (stored(FIVE, "NPY"), 5, FIVE),
        (stored(np.moveaxis(FIVE, 2, 0), "NPY"), 5, FIVE),
        (stored(FIVE[..., 0], "NPY"), 1, FIVE[..., :1]),
        (stored(FIVE[..., 0], "NPY"), 3, FIVE[..., [0, 0, 0]]),
        (stored(FIVE[..., :3]), 3, FIVE[..., :3]),
        (stored(FIVE[..., 0]), 1, FIVE[..., :1]),
        (stored(FIVE[..., :4]), 4, FIVE[..., :4]),  # RGBA, or any four bands
        (tiff_pages(FIVE), 5, FIVE),
        (tiff_pages(FIVE.astype(np.uint16) * 257), 5, FIVE),
    ],
)
def test_channels_are_read(content: bytes, channels: int, expected: np.ndarray) -> None:
    found = decode(content, "a", Decoding(channels=channels))
    assert np.array_equal(found, expected)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stored(FIVE[..., :3]), "its 3 bands on 1 pages are not the 5 of --channels"),
        (stored(FIVE[..., :4], "NPY"), r"shape \(20, 30, 4\) has no 5 channels"),
        (tiff_pages(FIVE[..., :2]), "its 1 bands on 2 pages are not the 5"),
    ],
)
def test_other_channels_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        decode(content, "a", Decoding(channels=5))


def five(number: int = 8) -> Images:
    """In memory, of five channels."""
    pixels = np.stack([np.roll(FIVE, i, axis=(0, 1, 2)) for i in range(number)])
    return Images(np.arange(number) % 2, pixels)


@pytest.mark.parametrize(
    "backend", [pytest.param("torch", marks=pytest.mark.slow), "torch with workers", "torchvision"]
)
def test_backends_agree(tmp_path: Path, backend: str) -> None:
    images, paths = five(), [tmp_path / f"{i}.npy" for i in range(8)]
    assert images.pixels is not None
    for path, pixels in zip(paths, images.pixels, strict=True):
        path.write_bytes(stored(pixels, "NPY"))
    how = Decoding(channels=5)
    files = Images(images.labels, files=in_files(paths).files, decoding=how)
    statistics = measure_statistics(images)
    assert measure_statistics(files) == statistics
    flat = images.pixels.reshape(-1, 5) / 255
    assert np.allclose(statistics["mean"], flat.mean(axis=0))
    assert np.allclose(statistics["std"], flat.std(axis=0))
    recipe = Recipe(size=16).of_channels(**statistics)
    made = [
        make_loader(b, of, [recipe], Sampler(8, 4, 0))
        for b, of in (("memory", images), (backend, files))
    ]
    expected, found = map(by_sample, map(epoch, made))
    for i in range(8):
        assert found[i][0].shape == (2, 5, 16, 16)
        assert are_rounded(found[i][0], expected[i][0], recipe)


def test_the_kernel_of_any_channels_is_that_of_three() -> None:
    pixels = np.stack([picture(20, 30, i) for i in range(6)])
    recipe = Recipe(size=16, jitter=0.0, grayscale=0.0)
    more = recipe.changed({"mean": (*recipe.mean, 0.5), "std": (*recipe.std, 1.0)})
    padded = np.concatenate([pixels, pixels[..., :1]], axis=3)
    three, four = (
        by_sample(epoch(MemoryLoader(Images(np.zeros(6, np.int64), x), [r], Sampler(6, 3, 0), 1)))
        for x, r in ((pixels, recipe), (padded, more))
    )
    for i in range(6):
        assert torch.allclose(three[i][0], four[i][0][:, :3], atol=1e-5)
    images = [Images(np.zeros(6, np.int64), x) for x in (pixels, padded)]
    plain = [
        next(iter(PlainLoader(*each, 6))).views[0]
        for each in zip(images, (recipe, more), strict=True)
    ]
    assert torch.allclose(plain[0], plain[1][:, :, :3], atol=1e-5)


def test_the_weights_say_how_a_source_of_ones_own_was_read() -> None:
    how = Decoding((0, 9), 5, exif_orientation=True)
    images = in_files([Path("a.tif"), Path("b.tif")], [0, 1])
    parts = replace(images, decoding=how), replace(images, decoding=how)
    config = configure(
        Pretrain, {"dataset": Source("mine", ["a", "b"], *parts), "encoder": "resnet18"}
    )
    told = encoder_metadata(config, [])
    assert [told.get(name) for name in DECODING] == [(0, 9), 5, True]


@pytest.mark.parametrize("high", [2, 256])
def test_statistics_are_those_of_all_values(high: int) -> None:
    pixels = np.random.default_rng(0).integers(0, high, (5, 9, 7, 2)).astype(np.uint8)
    pixels[..., 1] = 200  # a constant channel
    found = measure_statistics(Images(np.zeros(5, np.int64), pixels))
    values = pixels.reshape(-1, 2) / 255
    assert found["mean"] == pytest.approx(values.mean(0).tolist(), rel=1e-13)
    assert found["std"] == pytest.approx(np.maximum(values.std(0), 1 / 255).tolist(), rel=1e-13)


def test_statistics_are_measured_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    side, image = 300, np.zeros((300, 300, 1), np.uint8)
    monkeypatch.setattr(Images, "pixel", lambda self, at: image)
    images = Images(np.zeros(32, np.int64), np.zeros((32, 1, 1, 1), np.uint8))
    tracemalloc.start()
    measure_statistics(images)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 * side**2  # of one image in float64


def test_a_recipe_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="the images have 5 channels, and mean and std are of 3"):
        PlainLoader(five(), Recipe(size=16), 4)
    source = from_dataset(five().pixels, decoding=Decoding(channels=5))
    data = ContrastiveData(source, [Recipe(size=16)], batch_size=2)
    with pytest.raises(ValueError, match="the images have 5 channels"):
        data.train_dataloader()


@pytest.mark.parametrize("name", ["resnet6_w4", "resnet18", "vit_tiny_patch16_224"])
def test_stems_are_of_that_width(name: str) -> None:
    encoder = encoders.create(name, 32, channels=5).eval()
    assert encoder(torch.zeros(2, 5, 32, 32)).shape == (2, encoders.width(encoder))


def test_a_run_on_five_channels(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for c in ("cat", "dog"):
        (tmp_path / "data" / c).mkdir(parents=True)
        for i in range(20):
            values = rng.normal(size=(16, 16, 5)).astype(np.float32)
            np.save(tmp_path / "data" / c / f"{i}.npy", values)
    words = f"folder resnet6_w4 --data_folder {tmp_path}/data --image_size 16 --channels 5 "
    words += f"--value_range -3 3 --num_workers 0 --wandb off --output {tmp_path} --precision 32 "
    more = "--run_id run --batch_size 8 --epochs 1 --hidden_mlp 8 --encoding_size 8"
    assert main_contrastive.main((words + more).split()) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "values -3 to 3, 5 channels, no color changes" in said
    assert said.endswith(f"main_linear.py --pretrained_feature_extractor {tmp_path}/run")
    evaluation = f"--run_id knn --eval knn --pretrained_feature_extractor {tmp_path}/run"
    assert main_linear.main((words + evaluation).split()) == 0
    unsaid = words.replace("--channels 5 --value_range -3 3 ", "").split()
    for file in ("encoder.safetensors", "last.ckpt"):
        name = file.partition(".")[0]
        again = ["--eval", "knn", "--run_id", name]
        again += ["--pretrained_feature_extractor", f"{tmp_path}/run/{file}"]
        assert main_linear.main([*unsaid, *again]) == 0
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert (config["channels"], config["value_range"]) == (5, [-3, 3])
        assert "the encoder was trained on: values -3 to 3, 5 channels" in capsys.readouterr().out
    told = [*unsaid, *again, "--run_id", "told", "--value_range", "-1", "1"]
    assert main_linear.main(told) == 0
    assert json.loads((tmp_path / "told" / "config.json").read_text())["value_range"] == [-1, 1]
    encoder, transform = load_encoder(tmp_path / "run")
    image = np.load(next((tmp_path / "data" / "cat").iterdir()))
    source = load("folder", f"{tmp_path}/data", value_range=(-3, 3), channels=5)
    of_bytes = Transform(transform.recipe, Decoding(channels=5))
    assert torch.equal(transform(image), of_bytes(to_bytes(image, (-3, 3))))
    features, _ = embed(encoder, source.val, transform=transform)
    pixels = torch.stack([of_bytes(source.val.pixel(i)) for i in range(len(source.val))])
    with torch.no_grad():
        torch.testing.assert_close(features, encoder(pixels))
    flags = {"data_folder": f"{tmp_path}/data", "output": str(tmp_path), "wandb": "off"}
    evaluate(encoder, "folder", "knn", transform=transform, run_id="module", **flags)
    config = json.loads((tmp_path / "module" / "config.json").read_text())
    assert (config["channels"], config["value_range"]) == (5, [-3, 3])
    dali = [*words.split(), *more.replace("run ", "run2 ").split(), "--backend", "dali"]
    assert main_contrastive.main(dali) == 2
    assert "--backend dali cannot be used with --channels 5" in capsys.readouterr().err
