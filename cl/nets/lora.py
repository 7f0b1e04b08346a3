"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1): low-rank weight updates."""

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

SCALE = "scale"  # the buffer


class LoRA(nn.Module):
    r"""A frozen encoder whose layers compute with $W + \frac{\alpha}{r} B A$ instead of $W$.

    A weight is a matrix here, output channels by the rest. B starts at zero, so that the features
    are the encoder's at first; only A and B are trained, and BatchNorm stays in evaluation mode.

    Args:
        encoder: its linear layers and convolutions are adapted; norms and biases are not.
        rank: r, rows of A, at most those of W and its columns.
        alpha: of the factor of all updates, above 0; None: the rank, a factor of 1. Where it is
            given a buffer `scale` keeps the factor with the updates.

    Raises:
        ValueError: there is no such layer.

    >>> adapted = LoRA(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), rank=2)
    >>> [(name, tuple(p.shape)) for name, p in adapted.named_parameters() if p.requires_grad]
    [('a.0', (2, 8)), ('b.0', (4, 2))]
    """

    def __init__(self, encoder: nn.Module, rank: int, alpha: float | None = None) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.names = adapted_weights(encoder)
        if not self.names:
            kind = type(encoder).__name__
            raise ValueError(f"--lora_rank needs linear layers or convolutions; {kind} has none")
        for name in ("head_hidden_size", "num_features"):  # the features' width, where it says it
            if hasattr(encoder, name):
                setattr(self, name, getattr(encoder, name))
        factor = None if alpha is None else torch.tensor(alpha / rank, dtype=torch.float64)
        self.register_buffer(SCALE, factor)
        self.scale: Tensor | None
        self.a, self.b = nn.ParameterList(), nn.ParameterList()
        for weight in map(encoder.get_parameter, self.names):
            outputs, inputs = len(weight), weight[0].numel()
            r = min(rank, outputs, inputs)
            self.a.append(weight.new_empty(r, inputs))
            self.b.append(weight.new_zeros(outputs, r))
            nn.init.kaiming_uniform_(self.a[-1], math.sqrt(5))  # as the authors' code
        self.train(self.training)

    def train(self, mode: bool = True) -> "LoRA":
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def weights(self) -> dict[str, Tensor]:
        """The weight of every adapted layer with its update, by the name of the weight."""
        each = zip(self.names, self.a, self.b, strict=True)
        return {
            name: updated(self.encoder.get_parameter(name), a, b, self.scale) for name, a, b in each
        }

    def forward(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return functional_call(self.encoder, self.weights(), x)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Merge the updates into the weights: a plain encoder with the same features."""
        encoder = copy.deepcopy(self.encoder)
        encoder.load_state_dict(encoder.state_dict() | self.weights())
        return encoder


def updated(weight: Tensor, a: Tensor, b: Tensor, scale: Tensor | None) -> Tensor:
    """$W + s B A$; s is 1 where there is no scale."""
    change = (b @ a).view_as(weight)
    return weight + (change if scale is None else change * scale.to(change.dtype))


def adapted_weights(encoder: nn.Module) -> list[str]:
    """The names of the weights that LoRA adapts: of linear layers and of convolutions."""
    adapted = (nn.Linear, nn.Conv2d)
    return [f"{k}.weight" for k, m in encoder.named_modules() if isinstance(m, adapted)]


def without_updates(encoder: nn.Module) -> nn.Module:
    """The encoder itself, or what it is with the updates of LoRA merged, its own or its parts'."""
    if isinstance(encoder, LoRA):
        return encoder.merged()
    parts = [name for name, module in encoder.named_modules() if isinstance(module, LoRA)]
    plain = copy.deepcopy(encoder) if parts else encoder
    for name in parts:
        part = plain.get_submodule(name)
        assert isinstance(part, LoRA)
        plain.set_submodule(name, part.merged())
    return plain


def merge_state(state: Mapping[str, Tensor], names: Sequence[str]) -> tuple[dict[str, Tensor], int]:
    """The tensors of a file with the updated weights in place of W, A and B, wherever these stand.

    Args:
        state: tensors by name, as the state dict of a `LoRA` or of what has one in it.
        names: of the weights that may be adapted in the encoder that is loaded.

    Returns:
        The tensors under a plain encoder's names, and the rank of the updates; 0 without any.

    Raises:
        ValueError: the updates are of other weights than the encoder has.
    """
    plain, rank = dict(state), 0
    for prefix in [key.removesuffix("a.0") for key in state if re.search(r"(^|\.)a\.0$", key)]:
        inner = f"{prefix}encoder."
        own = [key for key in state if key.startswith(inner)]
        if f"{prefix}b.0" not in state or not own:
            continue
        count = sum(bool(re.fullmatch(r"a\.\d+", key.removeprefix(prefix))) for key in state)
        fitting = [
            weights
            for each in names_below(prefix, names)
            if len(weights := [f"{inner}{name}" for name in each]) == count
            and state.keys() >= {*weights}
        ]
        if not fitting:
            raise ValueError(
                f"LoRA's updates of {count} weights ({prefix}a.*) are of another encoder than this"
            )
        scale = plain.pop(f"{prefix}{SCALE}", None)
        for i, weight in enumerate(fitting[0]):
            a, b = plain.pop(f"{prefix}a.{i}"), plain.pop(f"{prefix}b.{i}")
            plain[weight] = updated(state[weight], a, b, scale)
            rank = max(rank, len(a))
        plain |= {f"{prefix}{key.removeprefix(inner)}": plain.pop(key) for key in own}
    return plain, rank


def names_below(prefix: str, names: Sequence[str]) -> Iterator[list[str]]:
    """The names of what may stand at a prefix: of a part by which the prefix ends, or of all.

    >>> [*names_below("encoder.image.", ["image.conv1.weight", "text.weight"])]
    [['conv1.weight'], ['image.conv1.weight', 'text.weight']]
    """
    parts = prefix.split(".")[:-1]
    for part in (".".join(parts[i:]) + "." for i in range(len(parts))):
        if found := [name.removeprefix(part) for name in names if name.startswith(part)]:
            yield found
    yield [*names]
