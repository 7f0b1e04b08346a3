"""An encoder for other programs: an ONNX file that was compared with it before it is there."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # of the largest feature; float32 on another engine sums in another order


def check_packages() -> None:
    """Check that what an export takes is installed.

    Raises:
        ValueError: a package is not.
    """
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        raise ValueError(
            f"--export onnx needs {' and '.join(absent)}: pip install {' '.join(absent)}"
        )


def export_onnx(
    encoder: nn.Module,
    size: int,
    path: Path,
    channels: int = 3,
    metadata: Mapping[str, str] | None = None,
) -> float:
    """Write an encoder as ONNX, `images` (n c size size) to `features` (n d), for every n.

    Args:
        encoder: from images to features.
        size: side of the images in pixels.
        path: of the file.
        channels: of the images.
        metadata: what is written into the file besides, as its `metadata_props`.

    Returns:
        The greatest difference of a feature on random images, over the largest of all features.

    Raises:
        ValueError: a package is not installed, or the file computes other features.
    """
    check_packages()
    like = next(encoder.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, channels, size, size, generator=generator).to(like)
    new = path.with_name(f"{path.name}.new")
    training = encoder.training
    encoder.eval()
    try:
        torch.onnx.export(
            encoder,
            (images[:2],),
            new,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        if metadata:
            write_metadata(new, metadata)
        apart = feature_difference(encoder, images, new)
        if not apart <= TOLERANCE:
            raise ValueError(
                f"{path}: features differ by {apart:.1g} of the largest, more than {TOLERANCE:g}"
            )
        new.replace(path)
    finally:
        encoder.train(training)
        new.unlink(missing_ok=True)
    return apart


def write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Write words by name into an ONNX file, which onnxruntime gives back with the model."""
    onnx = import_module("onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


@torch.no_grad()
def feature_difference(encoder: nn.Module, images: torch.Tensor, path: Path) -> float:
    """How far the features of an ONNX file are at most from the encoder's, over the largest one."""
    session = import_module("onnxruntime").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["features"], {"images": images.cpu().numpy()})
    expected = encoder(images).cpu()
    return float((expected - torch.from_numpy(found)).abs().max() / expected.abs().max())
