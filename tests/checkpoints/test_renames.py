"""Layouts by rule: any nesting, one prefix, other libraries' names; or a refusal in words."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from cl import checkpoints
from cl.checkpoints import formats
from cl.nets import encoders

State = dict[str, Tensor]
Made = tuple[str, int, dict[str, Any], Callable[[Tensor], Tensor]]  # encoder, px, file, features


def shaken(net: nn.Module) -> Any:
    """The module with random statistics, affine weights and tables, in evaluation mode."""
    g = torch.Generator().manual_seed(1)
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            tensor.data += 0.1 * torch.rand(tensor.shape, generator=g)
    return net.eval()


def headless(net: Any, name: str) -> Any:
    setattr(net, name, nn.Identity())
    return net


def with_prefix(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def resnet(small: bool = False) -> Any:
    torch.manual_seed(0)
    net: Any = torchvision.models.resnet18(num_classes=10)
    if small:
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False), nn.Identity()
    return headless(shaken(net), "fc")


def of_supcontrast() -> Made:
    """The official files: {"opt", "model": {"encoder.module.layer2.0.shortcut.0.weight", ...}}."""
    net = resnet(small=True)
    state = {
        f"encoder.module.{k}".replace("downsample", "shortcut"): v
        for k, v in net.state_dict().items()
    }
    state |= {"head.0.weight": torch.zeros(512, 512), "head.2.weight": torch.zeros(128, 512)}
    return "resnet18", 32, {"model": state, "epoch": 9, "optimizer": {"state": {}}}, net


def of_vissl() -> Made:
    net = resnet()
    trunk = with_prefix(net.state_dict(), "_feature_blocks.")
    heads = {"0.clf.0.weight": torch.zeros(8, 512)}
    base = {"model": {"trunk": trunk, "heads": heads}, "meters": {}, "loss": {}}
    return "resnet18", 224, {"classy_state_dict": {"base_model": base}, "iteration": 4}, net


def under(prefix: str) -> Made:
    net = resnet()
    return "resnet18", 224, {"state_dict": with_prefix(net.state_dict(), prefix)}, net


def of_net() -> Made:
    return under("net.")


def of_student_backbone() -> Made:
    return under("student_backbone.")


def of_byol() -> Made:
    """The online network, not the target that follows it."""
    name, size, file, net = under("online_encoder.net.")
    target = with_prefix(file["state_dict"], "")
    file["state_dict"] |= {k.replace("online", "target"): v + 1 for k, v in target.items()}
    return name, size, file, net


def of_a_bare_sequential() -> Made:
    net = nn.Sequential(*list(resnet().children())[:-1])
    return "resnet18", 224, net.state_dict(), lambda x: net(x).flatten(1)


def of_timms_average() -> Made:
    net = resnet()
    state = net.state_dict()
    other = {key: value + 1 for key, value in state.items()}
    return "resnet18", 224, {"state_dict": other, "state_dict_ema": state, "arch": "resnet18"}, net


def of_torchvisions_vit() -> Made:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 4, 12, 3, 192, 768, num_classes=7)
    state = shaken(net).state_dict()
    return "vit_tiny_patch16_224", 32, dict(state), headless(net, "heads")


def of_torchvisions_convnext() -> Made:
    torch.manual_seed(0)
    net = shaken(torchvision.models.convnext_tiny(num_classes=5))
    state = dict(net.state_dict())
    net.classifier[2] = nn.Identity()
    return "convnext_tiny", 96, with_prefix(state, "backbone."), net


def of_torchvisions_efficientnet() -> Made:
    torch.manual_seed(0)
    net = shaken(torchvision.models.efficientnet_b0(num_classes=5))
    return "efficientnet_b0", 96, dict(net.state_dict()), headless(net, "classifier")


def hugging_face_resnet_key(key: str) -> str:
    """As `transformers.ResNetForImageClassification` names timm's tensors."""
    key = key.replace("downsample.0", "shortcut.convolution")
    key = key.replace("downsample.1", "shortcut.normalization")
    for kind, name in (("conv", "convolution"), ("bn", "normalization")):
        key = re.sub(rf"^{kind}1", f"embedder.embedder.{name}", key)
        key = re.sub(rf"\.{kind}(\d)", lambda m, n=name: f".layer.{int(m[1]) - 1}.{n}", key)
    return re.sub(r"^layer(\d)", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers", key)


def of_hugging_faces_resnet() -> Made:
    net = resnet()
    state = {f"resnet.{hugging_face_resnet_key(k)}": v for k, v in net.state_dict().items()}
    assert "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight" in state
    assert "resnet.encoder.stages.0.layers.1.layer.0.normalization.bias" in state
    return "resnet18", 224, state | {"classifier.1.weight": torch.zeros(9, 512)}, net


OLD = (
    ("blocks.", "encoder.layer."),
    ("attn.qkv", "attention.attention.{}"),
    ("attn.proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)
NEW = (("blocks.", "layers."), ("attn.qkv", "attention.{}"), ("attn.proj", "attention.o_proj"))
BOTH = (
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
)
PARTS = {OLD: ("query", "key", "value"), NEW: ("q_proj", "k_proj", "v_proj")}


def of_hugging_faces_vit(names: Any = OLD) -> Made:
    torch.manual_seed(0)
    net = shaken(encoders.create("vit_tiny_patch16_224", 96))
    norms = [module for module in net.modules() if isinstance(module, nn.LayerNorm)]
    for norm in norms:
        norm.eps = 1e-12
    state: State = {}
    for key, value in net.state_dict().items():
        for ours, theirs in (*BOTH, *names):
            key = key.replace(ours, theirs)
        key = re.sub(r"^norm\.", "layernorm.", key)
        parts = PARTS[names] if "{}" in key else ("",)
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            state[f"vit.{key.format(part)}"] = piece
    state |= {"vit.embeddings.mask_token": torch.ones(1, 1, 192)}
    return "vit_tiny_patch16_224", 96, state | {"classifier.weight": torch.zeros(5, 192)}, net


def of_hugging_faces_newer_vit() -> Made:
    return of_hugging_faces_vit(NEW)


def of_dinov2() -> Made:
    """With the token of masked patches and positions of 16 x 16 patches, taken for 6 x 6."""
    torch.manual_seed(0)
    state = shaken(encoders.create("vit_small_patch14_dinov2", 224)).state_dict()
    file = dict(state) | {"mask_token": torch.ones(1, 384)}
    net = encoders.create("vit_small_patch14_dinov2", 84).eval()
    net.load_state_dict(checkpoint_filter_fn(dict(state), net))  # pyright: ignore[reportArgumentType]
    return "vit_small_patch14_dinov2", 84, file, net


GUESS = "a guess: conv1 pads by 1, which no tensor tells (solo-learn's for CIFAR by 2)"
HUGGING_FACE = (
    "Hugging Face's ViT layout; the norms' epsilon is 1e-12, as there; "
    "left out: classifier 1, vit.mask_token 1"
)
MADE = {
    of_supcontrast: "SupContrast's layout; left out: head 2",
    of_vissl: "VISSL's layout",
    of_net: "'net.' layout",
    of_student_backbone: "'student_backbone.' layout",
    of_byol: "'online_encoder.net.' layout; left out: target_encoder 120",
    of_a_bare_sequential: "a Sequential's layout",
    of_timms_average: "plain layout; the averaged weights of state_dict_ema; "
    "left out: state_dict 120",
    of_torchvisions_vit: "torchvision's ViT layout; left out: heads 2",
    of_torchvisions_convnext: "torchvision's ConvNeXt layout; left out: backbone.head 2",
    of_torchvisions_efficientnet: "torchvision's EfficientNet layout; left out: classifier 2",
    of_hugging_faces_resnet: "Hugging Face's ResNet layout; left out: classifier 1",
    of_hugging_faces_vit: HUGGING_FACE,
    of_hugging_faces_newer_vit: HUGGING_FACE,
    of_dinov2: "plain layout; positions interpolated from 16 to 6 patches a side; "
    "left out: mask_token 1",
}


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_features_are_the_others(made: Callable[[], Made], tmp_path: Path) -> None:
    name, size, file, features = made()
    encoder = encoders.create(name, size).eval()
    torch.save(file, tmp_path / "file.pth")
    report = checkpoints.load_weights(encoder, tmp_path / "file.pth")
    (tmp_path / "file.pth").unlink()
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = encoder(x), features(x)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=1e-5)
    assert str(report).partition(" tensors, ")[2] == MADE[made]


def test_any_nesting() -> None:
    net = resnet()
    file = {"a": {"b": [1], "c": {"d": {"model.backbone": 3, **net.state_dict()}}}, "epoch": 2}
    state, _ = formats.match_layout(file, net.state_dict(), "file")
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())


def test_two_encoders_that_fit_are_refused() -> None:
    net = resnet()
    file = with_prefix(net.state_dict(), "a.") | with_prefix(net.state_dict(), "b.")
    with pytest.raises(ValueError, match=r"several encoders that fit \('a.\*', 'b.\*'\); save"):
        formats.match_layout(file, net.state_dict(), "file")


def test_of_two_encoders_the_one_that_fits_is_taken() -> None:
    net, other = resnet(), torchvision.models.resnet34(num_classes=2)
    file = with_prefix(other.state_dict(), "a.") | with_prefix(net.state_dict(), "b.")
    state, report = formats.match_layout(file, net.state_dict(), "file")
    assert report.layout == "'b.'"
    assert torch.equal(state["conv1.weight"], net.conv1.weight)


def test_a_layer_within_the_encoder_is_no_head() -> None:
    net = resnet()
    file = dict(net.state_dict()) | {"layer1.0.se.fc1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 not in the encoder \(layer1.0.se.fc1.weight\); in"):
        formats.match_layout(file, net.state_dict(), "file")


@pytest.mark.parametrize("prefix", ["encoder.", "backbone."])
@pytest.mark.parametrize("beside", ["projector.0.weight", "momentum_projector.0.weight"])
def test_solo_learns_stem_is_never_ours(prefix: str, beside: str) -> None:
    """Its first versions call the encoder so too; what is ours says that it is."""
    net = resnet(small=True)
    state = with_prefix(net.state_dict(), prefix)
    state |= {"classifier.weight": torch.zeros(2, 512), beside: torch.zeros(1)}
    wanted = encoders.create("resnet18", 32).state_dict()
    _, report = formats.match_layout({"state_dict": state}, wanted, "file")
    assert (report.layout, report.padding) == ("solo-learn's", 2)
    _, own = formats.match_layout({"state_dict": state, formats.MARK: 1}, wanted, "file")
    assert own.padding is None
    assert not own.notes


def test_a_small_stem_of_anybodys_is_a_guess_that_is_said() -> None:
    net = resnet(small=True)
    wanted = encoders.create("resnet18", 32).state_dict()
    _, report = formats.match_layout(net.state_dict(), wanted, "file")
    assert report.notes == (GUESS,)
    _, own = formats.match_layout(net.state_dict(), wanted, "file", ours=True)
    assert own.notes == ()
    large = resnet()
    _, report = formats.match_layout(large.state_dict(), large.state_dict(), "file")
    assert report.notes == ()


def test_a_large_efficientnet_of_torchvision_has_another_epsilon() -> None:
    with torch.device("meta"):
        net = torchvision.models.efficientnet_b5(num_classes=2)
        wanted = timm.create_model("efficientnet_b5", num_classes=0).state_dict()
    _, report = formats.match_layout(dict(net.state_dict()), wanted, "file")
    assert report.epsilon == net.features[0][1].eps == 1e-3


def test_the_epsilon_reaches_the_norms(tmp_path: Path) -> None:
    name, size, file, _ = of_hugging_faces_vit()
    torch.save(file, tmp_path / "vit.pth")
    encoder = encoders.create(name, size)
    checkpoints.load_weights(encoder, tmp_path / "vit.pth")
    assert {m.eps for m in encoder.modules() if isinstance(m, nn.LayerNorm)} == {1e-12}


def test_a_refusal_lists_what_is_there() -> None:
    file = {"model": {"features.0.weight": torch.zeros(1), "head.bias": torch.zeros(1)}}
    with pytest.raises(ValueError, match=r"in the file: features 1, head 1 \(features.0.weight"):
        formats.match_layout(file, resnet().state_dict(), "file")
