"""Encoders give the features they promise, at every size their stem is made for."""

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import _registry
from torch import Tensor, nn

from cl.config.encoders import timm_names, unknown
from cl.methods.simclr import SimCLR
from cl.nets.encoders import check_sizes, create, width
from cl.nets.heads import each_view, mlp


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet6_w8", 16),
        ("resnet6_w8", 32),
        ("resnet18", 32),
        ("test_resnet", 32),
        ("resnet18", 96),
        ("test_vit", 32),
        ("mobilenetv3_small_050", 32),
        ("lcnet_050", 32),
        ("ghostnet_100", 32),
        ("convnext_atto", 32),
    ],
)
def test_features_are_as_wide_as_is_said(name: str, size: int) -> None:
    encoder = create(name, size).eval()
    with torch.no_grad():
        assert encoder(torch.randn(2, 3, size, size)).shape == (2, width(encoder))


def test_small_images_keep_their_side_in_the_stem() -> None:
    small, large = create("resnet18", 64), create("resnet18", 65)
    assert small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, nn.Identity)
    assert large.conv1.stride == (2, 2)
    assert isinstance(large.maxpool, nn.MaxPool2d)


@pytest.mark.parametrize("zero", [True, False])
def test_zero_init_residual(zero: bool) -> None:
    block = create("resnet18", 224, zero_init_residual=zero).layer1[0]
    assert bool((block.bn2.weight == 0).all()) is zero


def test_unknown_names_are_answered_with_a_near_one() -> None:
    with pytest.raises(ValueError, match=r"resnet188.*resnet18"):
        create("resnet188", 32)
    with pytest.raises(ValueError, match="--zero_init_residual"):
        create("resnet6_w8", 32, zero_init_residual=True)
    with pytest.raises(ValueError, match="--zero_init_residual"):
        create("test_vit", 224, zero_init_residual=True)


def test_the_names_of_timm_are_read_from_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it knows, its earlier names too; of models of the user's own it alone can tell."""
    assert timm_names() == {*_registry._model_entrypoints} > {*timm.list_models()}
    assert unknown("my_resnet") == ""
    monkeypatch.delitem(sys.modules, "timm")
    for name in ("resnet6", "resnet50.a1_in1k", "bag_w8", "hf:FOLDER", "mine:Net"):
        assert unknown(name) == "", name
    assert "did you mean resnet18" in unknown("resnet188")


def test_sizes_that_an_encoder_cannot_take_are_said() -> None:
    encoder = create("convnext_atto", 16)
    check_sizes(encoder, [32, 48], 3)
    assert encoder.training
    with pytest.raises(
        ValueError, match=r"\(ConvNeXt\) cannot take images of 16 px: .* 224 px, see"
    ):
        check_sizes(encoder, [32, 16], 3)


def test_each_view_is_one_forward() -> None:
    """BatchNorm sees all views together: normalized over both, not over each."""
    torch.manual_seed(0)
    head = mlp(4, 3, last_norm=True)
    h = torch.stack([torch.randn(8, 4), torch.randn(8, 4) + 5])
    z = each_view(head, h)
    assert z.shape == (2, 8, 3)
    torch.testing.assert_close(z.flatten(0, 1).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert z[0].mean(0).abs().max() > 0.1


def test_mlp_has_the_layers_of_the_papers() -> None:
    kinds = [type(m).__name__ for m in mlp(8, 6, 6, 4, last_norm=True)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert mlp(8, 6, 4)[-1].bias is not None
    assert mlp(8, 6, 4, last_bias=False)[-1].bias is None


class Own(nn.Module):
    """Somebody's encoder, which does not say how wide its features are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(), nn.AdaptiveAvgPool2d(1)
        )
        self.layers[1].eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(1)


def test_a_width_is_measured_and_leaves_no_trace() -> None:
    encoder = Own()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    modes = [m.training for m in encoder.modules()]
    state = torch.get_rng_state()
    assert width(encoder, torch.randn(2, 3, 8, 8, generator=torch.Generator())) == 5
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in encoder.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    encoder.num_features = 7
    assert width(encoder) == 7


@pytest.mark.parametrize("how", [{"device": "meta"}, {"dtype": torch.float64}])
def test_a_width_is_measured_wherever_the_encoder_is(how: dict[str, Any]) -> None:
    """On a GPU, for which a device without memory stands here, and in any precision."""
    assert width(Own().to(**how), torch.zeros(2, 3, 8, 8)) == 5
    assert SimCLR(Own().to(**how)).width == 5
    table = nn.Sequential(nn.Embedding(9, 4), nn.Flatten()).to(**how)
    assert width(table, torch.zeros(2, 3, dtype=torch.long)) == 12


@pytest.mark.parametrize(
    ("encoder", "example", "message"),
    [
        (Own(), None, "Own does not say the width of its features: set its attribute num_features"),
        (Own(), torch.zeros(2, 1, 8, 8), r"cannot encode a batch \(2, 1, 8, 8\)"),
        (nn.Identity(), torch.zeros(2, 3, 8, 8), "one vector of features a sample"),
    ],
)
def test_a_width_that_cannot_be_measured(
    encoder: nn.Module, example: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        width(encoder, example)


def test_a_tag_means_weights_and_is_refused_without_them() -> None:
    with pytest.raises(ValueError, match=r"the tag .a1_in1k names pretrained weights, and weights"):
        create("resnet18.a1_in1k", 32)
    assert create("resnet18.a1_in1k", 32, weights_follow=True)
    with pytest.raises(ValueError, match=r"ENCODER resnet18.nothing: Invalid pretrained tag"):
        create("resnet18.nothing", 32, weights_follow=True)


def test_group_norm_needs_a_batch_norm() -> None:
    with pytest.raises(ValueError, match="--norm group: test_vit has no batch norm"):
        create("test_vit", 32, norm="group")


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_the_stem_is_chosen(name: str) -> None:
    small, full = (create(name, 32, stem=stem).eval() for stem in ("small", "full"))
    published = timm.create_model(name, num_classes=0).state_dict()
    key = "conv1.weight" if name == "resnet18" else "patch_embed.proj.weight"
    assert full.state_dict()[key].shape == published[key].shape
    assert small.state_dict()[key].shape != published[key].shape
    assert full(torch.zeros(1, 3, 32, 32)).shape == (1, width(full))


@pytest.mark.parametrize("name", ["resnet6_w8", "torch.nn:Identity", "mobilenetv3_small_050"])
def test_a_stem_that_an_encoder_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="--stem needs"):
        create(name, 32, stem="small")


def test_timms_weights_are_taken_from_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a cache of the Hugging Face hub as a download leaves it; nothing else is asked."""
    name = "test_resnet"
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    theirs = timm.create_model(name)
    repository = tmp_path / f"models--{config.hf_hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(theirs.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="are not on this machine and cannot be fetched"):
        create(name, 96, pretrained=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    encoder = create(name, 96, pretrained=True)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    with pytest.raises(ValueError, match="--stem full"):
        create(name, 32, pretrained=True)
