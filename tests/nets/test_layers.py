"""Intermediate layers as features, against timm's own and by hand."""

import pytest
import timm
import torch
from torch import nn

from cl.nets.layers import Layers
from cl.nets.resnet6 import ResNet6

X = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit(name: str = "vit_tiny_patch16_224") -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(
        name, img_size=32, patch_size=8, depth=4, embed_dim=24, num_heads=3, num_classes=0
    )
    for weight in model.parameters():  # norms and tokens that are not their starts
        nn.init.normal_(weight, std=0.2)
    return model.eval()


def test_tokens_of_blocks_are_timms_intermediates() -> None:
    model = vit()
    with torch.no_grad():
        found = Layers(model, ["-2", "blocks.0:mean", "3:cls"])(X)
        tokens = model.forward_intermediates(
            X,
            indices=[0, 2, 3],
            norm=True,
            output_fmt="NLC",
            return_prefix_tokens=True,
            intermediates_only=True,
        )
        whole = model(X)
    patches, prefixes = zip(*tokens, strict=True)
    expected = [prefixes[1][:, 0], patches[0].mean(dim=1), prefixes[2][:, 0]]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    torch.testing.assert_close(found[:, -24:], whole)


def test_the_mean_is_of_patches_alone() -> None:
    model = vit("deit_tiny_distilled_patch16_224")
    with torch.no_grad():
        tokens = model.norm(tokens_of(model))
        found = Layers(model, ["-1:mean"])(X)
    torch.testing.assert_close(found, tokens[:, 2:].mean(dim=1))


def tokens_of(model: nn.Module) -> torch.Tensor:
    """What the last block gives."""
    kept: list[torch.Tensor] = []
    hook = model.blocks[-1].register_forward_hook(lambda *given: kept.append(given[2]))
    model(X)
    hook.remove()
    return kept[0]


def test_maps_are_averaged() -> None:
    """Also those of Swin, whose channels are last; -1 of a CNN is its output."""
    torch.manual_seed(0)
    model = ResNet6(4).eval()
    with torch.no_grad():
        middle = model.stage1(model.stem(X))
        torch.testing.assert_close(Layers(model, ["1"])(X), middle.mean(dim=(2, 3)))
        torch.testing.assert_close(Layers(model, ["-1"])(X), model(X))
        inner = model.stage1[0].conv(model.stem(X)).mean(dim=(2, 3))  # changed in place after it
        torch.testing.assert_close(Layers(model, ["stage1.0.conv"])(X), inner)
        small = {"img_size": 32, "window_size": 2, "depths": (1, 1), "num_heads": (1, 2)}
        swin = timm.create_model(
            "swin_tiny_patch4_window7_224", num_classes=0, embed_dim=8, **small
        ).eval()
        maps = swin.forward_intermediates(X, indices=[0], intermediates_only=True)[0]
        torch.testing.assert_close(Layers(swin, ["0"])(X), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("4", r"--layer 4: there are 0 to 3, or -1 to -4: blocks.0, .*blocks.3$"),
        ("-5", "--layer -5: there are 0 to 3"),
        ("block.1", r"no such module; the nearest are .*blocks.1.*, and by number 0 to 3 are"),
        ("-1:max", "--layer -1:max: choose -1:cls or -1:mean"),
        ("norm_pre:cls", None),
        ("patch_embed:cls", "patches are no features yet; the first are blocks.0"),
        ("patch_drop", None),
        ("", "--layer : the encoder has no such module"),
    ],
)
def test_what_there_is_not_is_said(layer: str, message: str | None) -> None:
    if message is None:
        assert Layers(vit(), [layer]).measure(X).num_features == 24
        return
    with pytest.raises(ValueError, match=message):
        Layers(vit(), [layer]).measure(X)


def test_a_layer_that_is_not_called_is_said() -> None:
    model = ResNet6(4)
    model.extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="--layer extra: the encoder's forward does not call it"):
        Layers(model, ["extra"]).measure(X)
    assert not any(module._forward_hooks for module in model.modules())
