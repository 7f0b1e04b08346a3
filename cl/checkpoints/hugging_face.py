"""What Hugging Face's config.json says of an encoder and no tensor tells."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

ACTIVATIONS = {"resnet": "relu"}  # of the encoders here, by model_type; a ViT's is gelu


def configuration(path: Path) -> dict[str, Any]:
    """Hugging Face's configuration beside a file of weights; empty where there is none.

    Raises:
        ValueError: it is damaged.
    """
    config = path.with_name("config.json")
    if path.suffix == ".ckpt" or not config.exists():
        return {}
    try:
        found = json.loads(config.read_text())
    except ValueError as error:
        raise ValueError(f"{config}, which says how {path} is built: {error}") from error
    return found if isinstance(found, dict) and "model_type" in found else {}


def check_configuration(config: Mapping[str, Any], path: Path, encoder: nn.Module) -> None:
    """Check that the tensors make the same encoder here.

    Args:
        config: of the weights.
        path: of the weights, for messages.
        encoder: that is filled with them.

    Raises:
        ValueError: theirs has other activations, attention heads or strides.
    """
    kind, wrong = config.get("model_type", ""), []
    activation = ACTIVATIONS.get(kind, "gelu")
    if config.get("hidden_act", activation) != activation:
        wrong.append(f"hidden_act {config['hidden_act']} instead of {activation}")
    heads = [getattr(module, "num_heads", None) for module in encoder.modules()]
    ours = sorted({each for each in heads if isinstance(each, int)})
    theirs = config.get("num_attention_heads")
    if isinstance(theirs, int) and ours and ours != [theirs]:
        here = " and ".join(map(str, ours))
        wrong.append(f"num_attention_heads {theirs} instead of {here}")
    if config.get("downsample_in_bottleneck"):
        wrong.append("downsample_in_bottleneck, strides in another convolution")
    if wrong:
        raise ValueError(
            f"{path}: its config.json says {' and '.join(wrong)}, which makes another encoder of "
            "the same tensors; give weights of the encoder as it is here"
        )
