"""From encoded images to pixels: all modes, damaged ones, and JPEGs as PIL has them."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl.data import sets
from cl.data.sets import _decode as module
from cl.data.sets._decode import UnreadableError, decode
from tests.data.made import picture


def test_modes_become_rgb(tmp_path: Path) -> None:
    rgb = picture(20, 30)
    image = Image.fromarray(rgb)
    gray = np.array(image.convert("L"))
    cases = {
        "rgb.png": (image, rgb),
        "gray.png": (Image.fromarray(gray), np.repeat(gray[..., None], 3, 2)),
        "rgba.png": (image.convert("RGBA"), rgb),
        "palette.png": (image.quantize(16), np.array(image.quantize(16).convert("RGB"))),
        "deep.png": (
            Image.fromarray(gray.astype(np.uint16) * 256 + 7),
            np.repeat(gray[..., None], 3, 2),
        ),
        "print.tif": (image.convert("CMYK"), np.array(image.convert("CMYK").convert("RGB"))),
        "small.bmp": (image, rgb),
    }
    for name, (made, expected) in cases.items():
        made.save(tmp_path / name)
        found = decode((tmp_path / name).read_bytes(), name)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert np.array_equal(found, expected), name
    image.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(decode((tmp_path / "print.jpg").read_bytes(), "").astype(int) - rgb).mean() < 12


def test_palette_with_transparency_is_decoded_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(picture(20, 30)).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    assert decode((tmp_path / "a.png").read_bytes(), "a").shape == (20, 30, 3)


def jpeg(image: Image.Image, **options: object) -> bytes:
    made = io.BytesIO()
    image.save(made, "JPEG", **options)
    return made.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_are_decoded_as_by_pil(mode: str, subsampling: int, progressive: bool) -> None:
    image = Image.fromarray(picture(67, 45)).convert(mode)
    content = jpeg(image, quality=90, subsampling=subsampling, progressive=progressive)
    found = decode(content, "a")
    assert found.flags.c_contiguous
    assert np.array_equal(found, np.array(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 48), (67, 45)])
def test_without_simplejpeg_the_pixels_are_the_same(
    subsampling: int, progressive: bool, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: both are libjpeg-turbo's."""
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
    for quality in (30, 95):
        image = Image.fromarray(picture(height, width))
        content = jpeg(image, quality=quality, subsampling=subsampling, progressive=progressive)
        found = decode(content, "a")
        with monkeypatch.context() as patch:
            patch.setattr(module, "decode_jpeg", None)
            assert np.array_equal(decode(content, "a"), found)


def test_without_simplejpeg_a_damaged_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "decode_jpeg", None)
    with pytest.raises(UnreadableError, match=r"^a\.jpg cannot be read as an image: "):
        decode(jpeg(Image.fromarray(picture(64, 64)))[:900], "a.jpg")


def test_that_pil_decodes_is_told_of_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(picture(8, 8)).save(tmp_path / name / f"{i}.jpg")
    monkeypatch.setattr(module, "decode_jpeg", None)
    with pytest.warns(UserWarning, match="simplejpeg is not installed: PIL decodes JPEGs") as said:
        sets.load("folder", str(tmp_path))
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sets.load("digits", "")


def test_real_jpegs_are_decoded_as_by_pil(shared: Path) -> None:
    packed = shared / "data" / "imagenet_fullsize_60.zip"
    if not packed.is_file():
        pytest.skip(f"no {packed}")
    with zipfile.ZipFile(packed) as file:
        names = [name for name in file.namelist() if name.endswith(".JPEG")][:12]
        for name in names:
            content = file.read(name)
            expected = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
            assert np.array_equal(decode(content, name), expected), name
    assert names


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_no_image_is_an_error_with_its_name(mode: str) -> None:
    whole = jpeg(Image.fromarray(picture(64, 64)).convert(mode))
    for content in (whole[:900], whole[: len(whole) // 2], whole[:-9], b"text", b""):
        with pytest.raises(UnreadableError, match=r"^a\.jpg cannot be read as an image: "):
            decode(content, "a.jpg")


def test_damage_that_pil_puts_up_with_is_decoded_as_by_pil() -> None:
    """One bit of the scan turned over: noise from there on, and no error."""
    whole, compared = jpeg(Image.fromarray(picture(64, 64)), quality=95), 0
    for at in range(len(whole) // 2, len(whole) - 2, 97):
        content = bytearray(whole)
        content[at] ^= 16
        try:
            expected = np.array(Image.open(io.BytesIO(bytes(content))).convert("RGB"))
        except OSError:
            with pytest.raises(UnreadableError):
                decode(bytes(content), "a")
            continue
        assert np.array_equal(decode(bytes(content), "a"), expected)
        compared += 1
    assert compared
