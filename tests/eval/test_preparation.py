"""How images are prepared belongs to the weights, and no pixel is cut off to enlarge the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.data
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

import cl
from cl.data.augment.recipe import Recipe, preset
from cl.data.module import PlainLoader
from cl.data.sets import DEFAULTS
from cl.eval._restore import restore
from cl.eval._transform import Transform
from cl.nets import encoders
from tests.data.made import in_memory

PIXELS = np.random.default_rng(0).integers(0, 256, (200, 120, 3), np.uint8)
UNIT: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
GUESS = "a guess: timm's configuration of a1_in1k; --mean, --std, ... change it"
FILES = "a guess: ImageNet's, since the file does not say it; --mean, --std, ... change it"


def values(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("side", "size"),
    [(96, 96), (100, 96), (109, 96), (224, 224), (250, 224), (65, 65)],
)
def test_what_is_native_or_little_larger_keeps_its_pixels(
    side: int, size: int, interpolation: Any
) -> None:
    """The center of the training size, not 7/8 enlarged; by a loader and by a transform."""
    images = in_memory(3, side)
    recipe = Recipe(size=size, interpolation=interpolation, **UNIT)
    (batch,) = PlainLoader(images, recipe, 8)
    start = (side - size) // 2
    assert images.pixels is not None
    for found, pixels in zip(batch.views[0][0], images.pixels, strict=True):
        expected = values(pixels[start : start + size, start : start + size])
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        assert torch.equal(Transform(recipe)(pixels), found)


@pytest.mark.parametrize(("side", "used"), [(256, 224), (300, 262), (90, 90), (50, 50)])
def test_larger_images_give_their_center_and_smaller_ones_all(side: int, used: int) -> None:
    size = 224 if side > 100 else 96
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    start = (side - used) // 2
    center = np.ascontiguousarray(pixels[start : start + used, start : start + used])
    found = Transform(Recipe(size=size, **UNIT))(pixels)
    assert torch.equal(found, Transform(Recipe(size=size, central=1.0, **UNIT))(center))


def test_bicubic_is_timms() -> None:
    for size in (64, 150):
        square = PIXELS[:120]
        theirs: Any = timm.data.create_transform(
            (3, size, size), interpolation="bicubic", crop_pct=1.0, mean=(0.5,) * 3, std=(0.2,) * 3
        )
        recipe = Recipe(
            size=size, central=1.0, interpolation="bicubic", mean=(0.5,) * 3, std=(0.2,) * 3
        )
        expected = theirs(Image.fromarray(square))
        torch.testing.assert_close(Transform(recipe)(square), expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_timms_configuration_is_that_of_timms_layout(large: Path) -> None:
    """Whatever the data set is that is evaluated; a tag is no guess, and flags win."""
    found = restore(large, "resnet18", "digits")
    assert (found.recipe.size, found.recipe.central) == (224, 0.95)
    assert (found.recipe.interpolation, found.preparation) == ("bicubic", GUESS)
    assert (found.recipe.mean, found.recipe.std) == (DEFAULTS["mean"], DEFAULTS["std"])
    tagged = restore(large, "resnet18.tv_in1k", "digits")
    assert (tagged.recipe.central, tagged.recipe.interpolation) == (0.875, "bilinear")
    assert tagged.preparation == "timm's configuration of resnet18.tv_in1k"
    flags = {"mean": (0.1, 0.2, 0.3), "central": 0.5}
    changed = restore(large, "resnet18", "digits", 96, flags)
    assert (changed.recipe.size, changed.recipe.central) == (96, 0.5)
    assert changed.recipe.mean == (0.1, 0.2, 0.3)
    assert changed.preparation == f"{GUESS}, changed by flags"


def test_a_vits_mean_is_its_own(tmp_path: Path) -> None:
    net = encoders.create("vit_tiny_patch16_224", 224)
    torch.save(net.state_dict(), tmp_path / "vit.pth")
    found = restore(tmp_path / "vit.pth", "vit_tiny_patch16_224", "cifar10")
    assert found.recipe.mean == found.recipe.std == (0.5, 0.5, 0.5)
    assert found.recipe.central == 0.9


def test_another_projects_file_has_imagenets_and_a_small_stem_the_sets_size(tmp_path: Path) -> None:
    net = encoders.create("resnet18", 32)
    state = {f"backbone.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "small.pth")
    found = restore(tmp_path / "small.pth", "resnet18", "cifar10")
    assert (found.recipe.size, found.recipe.mean) == (32, DEFAULTS["mean"])
    assert found.recipe.mean != preset("cifar10").mean
    assert (found.recipe.central, found.preparation) == (None, FILES)


def test_a_file_of_ours_says_it(tmp_path: Path) -> None:
    about = {"encoder": "resnet6_w4", "image_size": 16, "mean": [0.3] * 3, "std": [0.2] * 3}
    cl.checkpoints.save_encoder(
        encoders.create("resnet6_w4", 16), tmp_path / "encoder.safetensors", about
    )
    found = restore(tmp_path / "encoder.safetensors", None, "cifar10")
    assert (found.recipe.size, found.recipe.mean) == (16, (0.3, 0.3, 0.3))
    assert found.preparation == "as the file of weights says"


class Bare(nn.Sequential):
    """An encoder that does not say the width of its features."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))


@pytest.mark.parametrize("kind", ["finetune", "supervised", "knn"])
def test_a_module_and_data_of_ones_own(kind: str, tmp_path: Path) -> None:
    """Without an image_size at the images' own, and without `num_features` by what it gives."""
    images = in_memory(60, 20)
    assert images.pixels is not None
    data = [
        (Image.fromarray(p), int(y) % 3) for p, y in zip(images.pixels, images.labels, strict=True)
    ]
    sets = tuple(Listed(data[i::2]) for i in range(2))
    flags = {"epochs": 1, "lr_decay_steps": ()} if kind != "knn" else {}
    flags = {k: v for k, v in flags.items() if v}
    found = cl.evaluate(
        Bare(), sets, kind, output=str(tmp_path), run_id="own", wandb="off", batch_size=16, **flags
    )
    assert 0 <= found[kind].numbers["top1"] <= 1
    said = (tmp_path / "own" / "cards.json").read_text()
    assert "plain 20 of all of the shorter side" in said


class Listed(torch.utils.data.Dataset):
    def __init__(self, items: list[tuple[Image.Image, int]]) -> None:
        self.items, self.classes = items, ["a", "b", "c"]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> tuple[Image.Image, int]:
        return self.items[at]
