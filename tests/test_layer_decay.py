"""Learning rates by layers against timm's own groups, and a transformer's against a list."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
from timm.optim import param_groups_layer_decay
from torch import nn

from cl.layer_decay import layer_rates, layers_above
from cl.nets.resnet6 import ResNet6
from cl.nets.texts import Bag
from cl.nets.transformer import Transformer, read_transformer
from cl.optim import Optimization, build_optimizer, groups
from tests.nets.made_texts import NEEDS, tiny

SMALL: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 3},
    "vit_base_patch16_clip_224": {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2},
    "beit_base_patch16_224": {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32,
        "depths": (1, 2),
        "num_heads": (2, 4),
        "window_size": 4,
    },
    "convnext_atto": {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 16)},
    "resnet18": {},
    "mobilenetv3_small_050": {},
}


class Trained(nn.Module):
    """An encoder with a head, as methods and classifiers have them."""

    def __init__(self, encoder: nn.Module, width: int = 4) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, nn.Linear(width, 5)


@pytest.mark.parametrize("name", SMALL)
def test_the_rates_are_those_of_timms_groups(name: str) -> None:
    """timm has its classifier inside of the model; the decay of weights and each rate agree."""
    whole = timm.create_model(name, num_classes=5, **SMALL[name])
    named = getattr(whole, "no_weight_decay", set)()
    scales, decays = dict[str, float](), dict[str, float]()
    names = {id(p): key for key, p in whole.named_parameters()}
    for group in param_groups_layer_decay(whole, 0.05, named, layer_decay=0.7):
        for p in group["params"]:
            scales[names[id(p)]], decays[names[id(p)]] = group["lr_scale"], group["weight_decay"]
    net = Trained(timm.create_model(name, num_classes=0, **SMALL[name]))
    ours = groups(net, Optimization(lr=2.0, weight_decay=0.05, layer_decay=0.7))
    own = {id(p): key for key, p in net.encoder.named_parameters()}
    found = {own[id(p)]: g for g in ours for p in g["params"] if id(p) in own}
    assert found.keys() == {key for key, _ in net.encoder.named_parameters()}
    for key, group in found.items():
        assert group["lr"] == pytest.approx(2.0 * scales[key]), key
        assert group["weight_decay"] == decays[key], key
    assert min(g["lr"] for g in ours) < max(g["lr"] for g in found.values()) <= 2.0
    assert ours[0]["lr"] == 2.0  # the head's, which is logged as the rate of the run
    (head,) = (g for g in ours if any(p is net.classifier.weight for p in g["params"]))
    assert head is ours[0]
    lowest, highest = layer_rates(net.encoder, 2.0, 0.7)
    rates = [group["lr"] for group in found.values()]
    assert (min(rates), max(rates)) == pytest.approx((lowest, highest))


def test_the_layers_of_an_encoder_of_ours() -> None:
    above = layers_above(ResNet6(8))
    expected = {"stem": 5, "stage1.0": 4, "stage1.1": 3, "stage2.0": 2, "stage2.1": 1}
    for name, number in above.items():
        assert [n for part, n in expected.items() if name.startswith(part)] == [number]


def test_the_layers_of_a_transformer_of_texts(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason=NEEDS)
    encoder = read_transformer(f"hf:{tiny(tmp_path / 'tiny')}")
    above, blocks = layers_above(encoder), encoder.model.config.num_hidden_layers
    for name, number in above.items():
        parts = name.split(".")
        inside = "layer" in parts
        place = int(parts[parts.index("layer") + 1]) + 1 if inside else 0
        assert number == blocks + 1 - place, name
    assert {*above.values()} == {*range(1, blocks + 2)}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.input_layernorm.weight", (1.0, 3.0)),
        ("model.transformer.layer.2.sa_layer_norm.bias", (1.0, 2.0)),
        ("model.h.0.attn.c_attn.weight", (1.0, 0.0)),
        ("model.norm.weight", (1.0, 99999.0)),
        ("model.final_norm.weight", (1.0, 99999.0)),
        ("model.ln_f.bias", (1.0, 99999.0)),
        ("model.embed_tokens.weight", (0.0,)),
        ("model.embeddings.LayerNorm.weight", (0.0,)),
        ("model.encoder.relative_attention_bias.weight", (0.0,)),
    ],
)
def test_names_of_other_transformers(name: str, layer: tuple[float, ...]) -> None:
    """Of Qwen, DistilBERT, GPT-2, ModernBERT and MPNet; as timm reads the patterns."""
    matcher = Transformer.group_matcher(None)  # pyright: ignore[reportArgumentType]
    for place, spec in enumerate(matcher.values()):
        for pattern, more in spec if isinstance(spec, list) else [(spec, None)]:
            if found := re.match(pattern, name):
                assert (place, *map(float, found.groups()), *(more or ())) == layer
                return
    raise AssertionError(name)


def test_other_rates_and_the_schedule_are_of_each_layer() -> None:
    o = Optimization(lr=1.0, bias_lr=0.1, layer_decay=0.5, min_lr=0.25, scheduler="linear")
    made = build_optimizer(Trained(ResNet6(8), 32), o, 10, 5, "train/loss")
    start = {g["name"]: g["lr"] for g in made["optimizer"].param_groups}
    assert start["encoder/layers_above_5"] == 0.5**5
    assert start["encoder/layers_above_5/no_decay"] == pytest.approx(0.1 * 0.5**5)
    for _ in range(10):
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    end = {g["name"]: g["lr"] for g in made["optimizer"].param_groups}
    assert end == pytest.approx({name: rate / 4 for name, rate in start.items()})


def test_an_encoder_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="--layer_decay: Bag does not say which parameters"):
        groups(Trained(Bag(4, rows=8)), Optimization(layer_decay=0.5))
