"""An ONNX file gives the encoder's features for any number of images, or is not written."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cl import export
from cl.nets import encoders


@pytest.fixture
def encoder() -> nn.Module:
    torch.manual_seed(0)
    made = encoders.create("resnet6_w4", 32)
    made(torch.randn(16, 3, 32, 32))  # moves the running statistics
    return made


def packages() -> None:
    for name in export.PACKAGES:
        pytest.importorskip(name, reason=f"ONNX export needs {name}")


def test_the_file_gives_the_encoders_features(tmp_path: Path, encoder: nn.Module) -> None:
    packages()
    import onnxruntime

    assert encoder.training
    said = {"mean": "[0.5, 0.4, 0.3]", "interpolation": '"bicubic"'}
    apart = export.export_onnx(encoder, 32, tmp_path / "encoder.onnx", metadata=said)
    assert encoder.training
    assert apart <= export.TOLERANCE
    assert [each.name for each in tmp_path.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    assert session.get_modelmeta().custom_metadata_map == said
    (given,) = session.get_inputs()
    assert given.name == "images"
    assert given.shape[1:] == [3, 32, 32]
    encoder.eval()
    for n in (1, 5):
        x = torch.randn(n, 3, 32, 32)
        (h,) = session.run(["features"], {"images": x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(h), encoder(x), atol=1e-5, rtol=1e-4)


def test_an_encoder_of_other_channels(tmp_path: Path) -> None:
    packages()
    encoder = encoders.create("resnet6_w4", 32, channels=5)
    assert export.export_onnx(encoder, 32, tmp_path / "encoder.onnx", 5) <= export.TOLERANCE


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_difference_is_of_the_largest_feature(
    scale: float, tmp_path: Path, encoder: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding of large features is no fault, another thousandth of small ones is."""
    encoder.eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        h = encoder(images)

    class Session:
        def run(self, *_: object) -> list[object]:
            return [(scale * h * (1 + 1e-3)).numpy()]

    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scale * encoder(x)

    runtime = SimpleNamespace(InferenceSession=lambda *_, **__: Session())
    monkeypatch.setattr(export, "import_module", lambda _: runtime)
    assert export.feature_difference(Scaled(), images, tmp_path) == pytest.approx(1e-3, rel=1e-3)


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, encoder: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages()
    write = torch.onnx.export

    def wrong(module: nn.Module, *args: object, **options: object) -> None:
        with torch.no_grad():
            next(module.parameters()).mul_(1.1)
            write(module, *args, **options)  # pyright: ignore[reportArgumentType]
            next(module.parameters()).div_(1.1)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(ValueError, match=r"encoder.onnx: features differ by .* more than 0.0001"):
        export.export_onnx(encoder, 32, tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


def test_absent_packages_are_named(
    tmp_path: Path, encoder: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PACKAGES", ("torch", "nowhere_a", "nowhere_b"))
    with pytest.raises(ValueError, match="pip install nowhere_a nowhere_b"):
        export.export_onnx(encoder, 32, tmp_path / "encoder.onnx")
