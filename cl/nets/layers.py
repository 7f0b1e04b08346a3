"""An encoder's intermediate layers as features: blocks by number, modules by name."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

NUMBER = re.compile(r"-?\d+")
POOLINGS = ("cls", "mean")
PATCHES = "patch_embed"  # a ViT's
SHOWN = 12  # names in a message


class Layers(nn.Module):
    """An encoder whose features are outputs of its layers, one behind the other.

    Of a ViT's tokens the features are the [CLS] token or the mean of the patch tokens, of a map
    `(n c h w)` its mean. The tokens of a ViT's blocks go through its last norm, as DINO's
    `get_intermediate_layers` and timm's `forward_intermediates(norm=True)` have them: the last
    block's [CLS] is the encoder's own output.

    Args:
        encoder: `(n c h w)` images to features; nothing of it is changed.
        layers: each `LAYER` or `LAYER:cls` or `LAYER:mean`, where LAYER is a number of `blocks_of`,
            from the end if it is negative, or the name of a module; without a pooling it is cls
            where there is such a token, else mean.

    Raises:
        ValueError: there is no such layer.
    """

    def __init__(self, encoder: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.chosen = [find_layer(encoder, layer) for layer in layers]
        self.num_features: int | None = None

    def measure(self, example: Float[Tensor, "n c h w"]) -> "Layers":
        """Set `num_features` by the features of an example, in evaluation mode.

        Raises:
            ValueError: an output is no tensor that is known, or a pooling does not fit it.
        """
        with torch.no_grad():
            self.num_features = self.eval()(example).shape[1]
        return self

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        features: dict[int, Tensor] = {}

        def keep(place: int) -> Any:  # pooled at once: what follows may change it in place
            name, pooling = self.chosen[place]
            return lambda _module, _given, output: features.update(
                {place: self.pooled(name, output, pooling)}
            )

        modules = dict(self.encoder.named_modules())
        hooks = [
            modules[name].register_forward_hook(keep(i)) for i, (name, _) in enumerate(self.chosen)
        ]
        try:
            self.encoder(x)
        finally:
            for hook in hooks:
                hook.remove()
        if absent := [name for i, (name, _) in enumerate(self.chosen) if i not in features]:
            raise ValueError(f"--layer {', '.join(absent)}: the encoder's forward does not call it")
        return torch.cat([features[i] for i in range(len(self.chosen))], dim=1)

    def pooled(self, name: str, output: Any, pooling: str) -> Float[Tensor, "n d"]:
        """The features of a layer's output.

        Raises:
            ValueError: it is no tensor that is known, or the pooling does not fit it.
        """
        encoder, prefix = self.encoder, int(getattr(self.encoder, "num_prefix_tokens", 0) or 0)
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"--layer {name}: its output ({kind}) is no tensor (n d), (n t d) or (n c h w)"
            )
        if pooling == "cls" and not (output.ndim == 3 and prefix):
            raise ValueError(
                f"--layer {name}:cls: its output has no [CLS] token; :mean is possible"
            )
        if output.ndim == 3:
            norm = getattr(encoder, "norm", None)
            if isinstance(norm, nn.Module) and name in block_names(encoder):
                output = norm(output)
            use_cls = pooling == "cls" or (not pooling and prefix > 0)
            return output[:, 0] if use_cls else reduce(output[:, prefix:], "n t d -> n d", "mean")
        if output.ndim == 4:
            channels_last = getattr(encoder, "output_fmt", "") == "NHWC"
            return reduce(output, "n h w d -> n d" if channels_last else "n d h w -> n d", "mean")
        return output


def block_names(encoder: nn.Module) -> list[str]:
    """The modules that a number means: a ViT's blocks, another timm encoder's stages, or children.

    Stages are those of timm's `feature_info`, e.g. act1 and layer1 to layer4 of a ResNet.
    """
    info = getattr(encoder, "feature_info", None)
    stages = info if isinstance(info, list) else getattr(info, "info", [])
    named = [stage["module"] for stage in stages]
    modules = {name for name, _ in encoder.named_modules()}
    return [n for n in named if n in modules] or [name for name, _ in encoder.named_children()]


def find_layer(encoder: nn.Module, layer: str) -> tuple[str, str]:
    """The module's name and the pooling that a layer means, see `Layers`.

    Raises:
        ValueError: there is no such layer.
    """
    word, _, pooling = layer.partition(":")
    blocks = block_names(encoder)
    if pooling not in ("", *POOLINGS):
        raise ValueError(f"--layer {layer}: choose {word}:cls or {word}:mean")
    if word.partition(".")[0] == PATCHES:  # whose shape and tokens differ from those of the blocks
        raise ValueError(f"--layer {layer}: patches are no features yet; the first are {blocks[0]}")
    if NUMBER.fullmatch(word):
        if -len(blocks) <= int(word) < len(blocks):
            return blocks[int(word)], pooling
        raise ValueError(
            f"--layer {layer}: there are 0 to {len(blocks) - 1}, or -1 to -{len(blocks)}: "
            f"{shortened(blocks)}"
        )
    modules = [name for name, _ in encoder.named_modules() if name]
    if word not in modules:
        near = get_close_matches(word, modules, n=3) or blocks
        raise ValueError(
            f"--layer {layer}: the encoder has no such module; the nearest are {shortened(near)}, "
            f"and by number 0 to {len(blocks) - 1} are {shortened(blocks)}"
        )
    return word, pooling


def shortened(names: Sequence[str]) -> str:
    """Names in a line; of many the first and the last.

    >>> shortened([str(n) for n in range(20)])
    '0, 1, 2, 3, 4, 5, ..., 14, 15, 16, 17, 18, 19'
    """
    half = SHOWN // 2
    each = names if len(names) <= SHOWN else [*names[:half], "...", *names[-half:]]
    return ", ".join(each)
