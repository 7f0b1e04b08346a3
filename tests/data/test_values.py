"""Bit depth is not range: which values of a file become black and white, in every backend."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from cl.config import ConfigError, from_json, parse_pretrain, to_json
from cl.data.augment.recipe import Recipe
from cl.data.sets import RGB, Decoding, Images, Source, from_dataset, in_files, load
from cl.data.sets._decode import UnreadableError, decode
from cl.data.sets._levels import check_levels, measure_range
from tests.data.made import picture
from tests.data.test_loaders import by_sample, difference, epoch, make_loader, same

STAIRS = np.tile(np.arange(64) * 4, (40, 1))  # 64 levels, 0 to 252


def stored(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    if kind == "NPY":
        np.save(file, image)
    else:
        made = image if isinstance(image, Image.Image) else Image.fromarray(image)
        made.save(file, kind, **options)
    return file.getvalue()


def gray(pixels: np.ndarray) -> np.ndarray:
    """The one value of each pixel of a gray image."""
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (STAIRS.astype(np.int32), "TIFF", STAIRS),
        (STAIRS.astype(np.float32), "TIFF", STAIRS),
        ((STAIRS * 257).astype(np.uint16), "PNG", STAIRS),
        ((STAIRS * 257).astype(np.uint16), "TIFF", STAIRS),
        ((STAIRS * 257).astype(np.uint16), "PPM", STAIRS),
        ((STAIRS * 16).astype(np.uint16), "PNG", STAIRS // 16),
        (STAIRS.astype(np.uint8), "PNG", STAIRS),
        (STAIRS.astype(np.uint8), "NPY", STAIRS),
        ((STAIRS * 257).astype(np.uint16), "NPY", STAIRS),
    ],
)
def test_without_a_range_the_type_says_it(
    values: np.ndarray, kind: str, expected: np.ndarray
) -> None:
    assert np.array_equal(gray(decode(stored(values, kind), "a")), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "NPY"])
@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 4032, np.uint16),
        (0, 15, np.uint8),
        (-1024, 3071, np.int32),
        (0.25, 0.75, np.float32),
        (1e6, 3e6, np.float32),
    ],
)
def test_a_range_becomes_0_to_255(low: float, high: float, dtype: type, kind: str) -> None:
    if kind == "PNG" and dtype not in (np.uint8, np.uint16):
        pytest.skip("PNG has no such values")
    steps = np.linspace(low - (high - low) / 4 * (low != 0), high, 64)
    values = np.tile(steps, (40, 1)).astype(dtype)
    found = gray(decode(stored(values, kind), "a", Decoding(value_range=(low, high))))
    exact = (values.astype(np.float64) - low) / (high - low) * 255
    assert np.abs(found - exact.clip(0, 255)).max() <= 0.5 + 1e-6


def test_a_range_is_of_every_channel() -> None:
    rgb = picture(20, 30) // 16
    found = decode(stored(rgb), "a", Decoding(value_range=(0, 15)))
    assert np.array_equal(found, rgb * 17)


def test_a_constant_image_of_other_values_is_said() -> None:
    content = stored(STAIRS.astype(np.uint16))
    with pytest.warns(UserWarning, match=r"^a\.png: its values from 0 to 252 all become 0; --val"):
        assert not decode(content, "a.png").any()
    assert not decode(stored(np.full((8, 8), 7, np.uint16)), "constant").any()  # as it is


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (stored(np.ones((8, 8)), "NPY"), RGB, "values of float64 need --value_range MIN MAX"),
        (
            stored(np.full((8, 8), np.nan, np.float32), "TIFF"),
            RGB,
            "some of its values are not fin",
        ),
        (stored(np.zeros((2, 8, 8, 5)), "NPY"), RGB, r"shape \(2, 8, 8, 5\) has no 3 channels"),
        (stored(np.zeros((8, 8, 3)), "NPY")[:200], RGB, "a cannot be read as an image"),
    ],
)
def test_values_that_are_refused(content: bytes, how: Decoding, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        decode(content, "a", how)


def deep_color_png() -> bytes:
    """A PNG of 16 bits in three channels, which PIL cannot write."""
    import struct
    import zlib

    rows = np.arange(3 * 64 * 8, dtype=">u2").reshape(8, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    head = struct.pack(">IIBBBBB", 64, 8, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_range_of_bits_that_pil_drops_is_refused() -> None:
    assert decode(deep_color_png(), "a").max() == 5  # the upper eight bits of 0 to 1535
    with pytest.raises(UnreadableError, match="only the upper eight of its 16 bits"):
        decode(deep_color_png(), "a", Decoding(value_range=(0, 1535)))


def write(folder: Path, values: np.ndarray, suffix: str, number: int = 8) -> Path:
    for c in ("cat", "dog"):
        (folder / c).mkdir(parents=True)
        for i in range(number):
            (folder / c / f"{i}.{suffix}").write_bytes(
                stored(np.roll(values, i), {"png": "PNG", "tif": "TIFF", "npy": "NPY"}[suffix])
            )
    return folder


@pytest.mark.parametrize(
    ("values", "suffix", "said"),
    [
        ((STAIRS * 16).astype(np.uint16), "png", "values from 0 to 4032, hold 16 gray levels"),
        ((STAIRS * 12).astype(np.uint16), "tif", "values from 0 to 3024, hold 12 gray levels"),
        ((STAIRS / 252).astype(np.float32), "tif", "from 0 to 1, hold 2 gray levels"),
        (((STAIRS - 100) * 30).astype(np.int32), "tif", "-3000 to 4560, hold 4|are cut off"),
        ((STAIRS // 16).astype(np.uint8), "png", "from 0 to 15, hold 16 gray levels"),
    ],
)
def test_few_levels_are_said_and_auto_measures(
    tmp_path: Path, values: np.ndarray, suffix: str, said: str
) -> None:
    folder = str(write(tmp_path, values, suffix))
    with pytest.warns(UserWarning, match=f"{said}.*--value_range auto"):
        load("folder", folder)
    source = load("folder", folder, value_range="auto")
    low, high = source.train.decoding.value_range or (0, 0)
    assert (low, high) == (values.min(), values.max())
    assert source.val.decoding == source.train.decoding
    assert source.train.subset(np.arange(2)).decoding == source.train.decoding
    pixels = gray(source.train.pixel(0))
    assert (pixels.min(), pixels.max(), len(np.unique(pixels))) == (0, 255, len(np.unique(values)))


def test_values_that_are_used_are_not_said(tmp_path: Path) -> None:
    load("folder", str(write(tmp_path / "a", (STAIRS * 257).astype(np.uint16), "png")))
    load("folder", str(write(tmp_path / "b", STAIRS.astype(np.int32), "tif")))
    damaged = write(tmp_path / "c", STAIRS.astype(np.uint8), "png")
    for file in damaged.rglob("*.png"):
        file.write_bytes(b"no image")
    load("folder", str(damaged))  # that is said when they are read
    with pytest.raises(ValueError, match="--value_range auto: all values of 0 images are 0"):
        load("folder", str(damaged), value_range="auto")


def test_auto_needs_files() -> None:
    with pytest.raises(ValueError, match="--value_range auto: the images are in memory"):
        load("digits", "", value_range="auto")
    files = Images(np.zeros(1, np.int64), np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="in memory"):
        measure_range(files)


@pytest.mark.parametrize(
    "backend",
    ["torch", "torch with workers", "torchvision", pytest.param("dali", marks=pytest.mark.dali)],
)
def test_every_backend_has_the_same_values(tmp_path: Path, backend: str) -> None:
    """Those of an 8-bit PNG that holds what deep files become."""
    kinds = {
        "u12.png": (STAIRS * 16).astype(np.uint16),
        "u12.tif": (STAIRS * 16).astype(np.uint16),
        "s32.tif": (STAIRS * 16).astype(np.int32),
        "f32.tif": (STAIRS * 16).astype(np.float32),
    }
    how, plain, deep = Decoding(value_range=(0, 4032)), [], []
    for name, values in kinds.items():
        deep.append(tmp_path / name)
        deep[-1].write_bytes(stored(values, "TIFF" if name.endswith("tif") else "PNG"))
        plain.append(tmp_path / f"{name}.plain.png")
        Image.fromarray(decode(deep[-1].read_bytes(), name, how)).save(plain[-1])
    deep_images = Images(np.zeros(4, np.int64), files=in_files(deep).files, decoding=how)
    recipes = [Recipe(size=16)]
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
        assert difference(deep_images) < 3
        return

    def views(images: Images) -> dict[int, list[torch.Tensor]]:
        from cl.data.loaders.sampler import Sampler

        return by_sample(epoch(make_loader(backend, images, recipes, Sampler(4, 2, 0))))

    found, expected = views(deep_images), views(in_files(plain))
    assert all(same(found[i], expected[i]) for i in range(4))


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_pil_turns_them(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = Image.fromarray(picture(20, 30))
    content = stored(made, kind, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    found = decode(content, "a", Decoding(exif_orientation=True))
    assert np.array_equal(found, np.array(turned))
    assert found.flags.c_contiguous
    if kind != "TIFF":  # whose orientation belongs to the format, and PIL applies it
        assert decode(content, "a").shape == (20, 30, 3)


def test_who_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for c in ("n00000000", "n00000001"):
        (tmp_path / c).mkdir()
        for i in range(2):
            Image.fromarray(picture(20, 30, i)).save(tmp_path / c / f"{i}.jpg", exif=exif)

    def shape(source: Source) -> tuple[int, ...]:
        return source.train.pixel(0).shape[:2]

    assert shape(load("folder", str(tmp_path))) == (30, 20)
    assert shape(load("folder", str(tmp_path), exif_orientation=False)) == (20, 30)
    assert shape(load("imagenet", str(tmp_path))) == (20, 30)
    assert shape(load("imagenet", str(tmp_path), exif_orientation=True)) == (30, 20)
    items = [Image.open(tmp_path / "n00000000" / "0.jpg") for _ in range(4)]
    assert shape(from_dataset(items)) == (30, 20)
    assert "turned" in load("folder", str(tmp_path)).train.decoding.describe()


@pytest.mark.dali
def test_dali_turns_images_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [tmp_path / f"{i}.jpg" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(40, 90, i)).save(path, exif=exif, quality=95)
    how = Decoding(exif_orientation=True)
    assert difference(Images(np.zeros(4, np.int64), files=in_files(paths).files, decoding=how)) < 3


def test_the_flag() -> None:
    words = ["folder", "resnet18", "--value_range"]
    config = parse_pretrain([*words, "-1000", "3e3"])
    assert config.value_range == (-1000, 3000)
    again = from_json(to_json(config))
    assert again.value_range == config.value_range
    assert parse_pretrain(["--value_range", "auto", *words[:2]]).value_range == "auto"
    for wrong in (["3", "3"], ["3"], ["auto", "3"], ["1", "2", "3"], ["least", "most"]):
        with pytest.raises(ConfigError):
            parse_pretrain([*words, *wrong])
    with pytest.raises(ConfigError, match="--value_range needs DATASET"):
        parse_pretrain(["digits", "resnet18", "--value_range", "auto"])


def test_damaged_files_are_passed_over(tmp_path: Path) -> None:
    folder = write(tmp_path, (STAIRS * 257).astype(np.uint16), "png")
    (folder / "cat" / "0.png").write_bytes(b"no image")
    images = load("folder", str(folder)).train
    check_levels(images, "folder")
    assert measure_range(images) == (0, 64764)
