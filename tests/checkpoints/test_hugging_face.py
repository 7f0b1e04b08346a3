"""Encoders of Hugging Face as it saves them: config.json beside the weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cl import checkpoints
from cl.nets import encoders
from tests.checkpoints.test_renames import of_hugging_faces_resnet, of_hugging_faces_vit


def folder(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> list[Path]:
    """Both kinds of files that are downloaded, beside what says how the encoder is built."""
    files = [path / "pytorch_model.bin", path / "model.safetensors"]
    torch.save(state, files[0])
    save_file({key: value.clone() for key, value in state.items()}, files[1])
    (path / "config.json").write_text(json.dumps(config))
    return files


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3])
def test_the_configuration_says_the_norms_epsilon(epsilon: float, tmp_path: Path) -> None:
    name, size, state, net = of_hugging_faces_vit()
    assert isinstance(net, nn.Module)
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    config = {"model_type": "vit", "hidden_act": "gelu", "layer_norm_eps": epsilon}
    for file in folder(tmp_path, state, config):
        encoder = encoders.create(name, size).eval()
        report = checkpoints.load_weights(encoder, file)
        assert f"epsilon is {epsilon:g}" in str(report)
        with torch.no_grad():
            torch.testing.assert_close(encoder(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"hidden_act": "gelu"}, "hidden_act gelu instead of relu"),
        ({"hidden_act": "relu", "downsample_in_bottleneck": True}, "strides in another"),
    ],
)
def test_another_encoder_of_the_same_tensors_is_refused(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    name, size, state, _ = of_hugging_faces_resnet()
    for file in folder(tmp_path, state, {"model_type": "resnet", **config}):
        with pytest.raises(ValueError, match=said):
            checkpoints.load_weights(encoders.create(name, size), file)


@pytest.mark.parametrize("heads", [3, 6])
def test_the_attention_heads_are_the_encoders(heads: int, tmp_path: Path) -> None:
    """The same tensors, and other features by another number of heads."""
    name, size, state, _ = of_hugging_faces_vit()
    for file in folder(tmp_path, state, {"model_type": "vit", "num_attention_heads": heads}):
        encoder = encoders.create(name, size)
        if heads == 3:
            checkpoints.load_weights(encoder, file)
        else:
            with pytest.raises(ValueError, match="num_attention_heads 6 instead of 3"):
                checkpoints.load_weights(encoder, file)


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    name, size, state, _ = of_hugging_faces_resnet()
    for file in folder(tmp_path, state, {}):
        file.with_name("config.json").write_text("{")
        with pytest.raises(ValueError, match=r"config\.json, which says how"):
            checkpoints.load_weights(encoders.create(name, size), file)


def with_statistics(net: nn.Module) -> Any:
    """Random statistics and affine weights of norms, of a size that no layer overflows."""
    g = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    tensor.data += 0.2 * torch.rand(tensor.shape, generator=g)
    return net.eval()


BASIC = {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
SMALL = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
MODELS = {
    "ResNet basic": ("ResNet", BASIC, "resnet18", 96),
    "ResNet bottleneck": ("ResNet", {}, "resnet50", 96),
    "ViT": ("ViT", {**SMALL, "image_size": 96}, "vit_tiny_patch16_224", 96),
    "ViT epsilon": (
        "ViT",
        {**SMALL, "image_size": 96, "layer_norm_eps": 1e-4},
        "vit_tiny_patch16_224",
        96,
    ),
}


@pytest.mark.parametrize("head", ["Model", "ForImageClassification"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_features_are_transformers(name: str, head: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    kind, options, encoder_name, size = MODELS[name]
    made = getattr(transformers, f"{kind}Config")(**options)
    net = with_statistics(getattr(transformers, f"{kind}{head}")(made))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    base = net if head == "Model" else getattr(net, kind.lower())
    with torch.no_grad():
        out = base(pixel_values=x)
    expected = out.pooler_output.flatten(1) if kind == "ResNet" else out.last_hidden_state[:, 0]
    net.save_pretrained(tmp_path)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    for file in ("pytorch_model.bin", "model.safetensors"):
        encoder = encoders.create(encoder_name, size).eval()
        checkpoints.load_weights(encoder, tmp_path / file)
        with torch.no_grad():
            found = encoder(x)
        scale = expected.abs().max()
        torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=1e-5)
