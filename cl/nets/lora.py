"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1): low-rank weight updates."""

import copy
import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call


class LoRA(nn.Module):
    r"""A frozen encoder whose layers compute with $W + B A$ instead of their weight $W$.

    A weight is a matrix here, output channels by the rest. B starts at zero, so that the features
    are the encoder's at first; only A and B are trained.

    Args:
        encoder: its linear layers and convolutions are adapted; norms and biases are not.
        rank: rows of A, at most those of W and its columns.

    Raises:
        ValueError: there is no such layer.

    >>> adapted = LoRA(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), rank=2)
    >>> [(name, tuple(p.shape)) for name, p in adapted.named_parameters() if p.requires_grad]
    [('a.0', (2, 8)), ('b.0', (4, 2))]
    """

    def __init__(self, encoder: nn.Module, rank: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        adapted = (nn.Linear, nn.Conv2d)
        self.names = [f"{k}.weight" for k, m in encoder.named_modules() if isinstance(m, adapted)]
        if not self.names:
            kind = type(encoder).__name__
            raise ValueError(f"--lora_rank needs linear layers or convolutions; {kind} has none")
        for name in ("head_hidden_size", "num_features"):  # the features' width, where it says it
            if hasattr(encoder, name):
                setattr(self, name, getattr(encoder, name))
        self.a, self.b = nn.ParameterList(), nn.ParameterList()
        for weight in map(encoder.get_parameter, self.names):
            outputs, inputs = len(weight), weight[0].numel()
            r = min(rank, outputs, inputs)
            self.a.append(weight.new_empty(r, inputs))
            self.b.append(weight.new_zeros(outputs, r))
            nn.init.kaiming_uniform_(self.a[-1], math.sqrt(5))  # as the authors' code

    def weights(self) -> dict[str, Tensor]:
        """$W + B A$ of every adapted layer, by the name of the weight."""
        found = {}
        for name, a, b in zip(self.names, self.a, self.b, strict=True):
            weight = self.encoder.get_parameter(name)
            found[name] = weight + (b @ a).view_as(weight)
        return found

    def forward(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return functional_call(self.encoder, self.weights(), x)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Merge the updates into the weights: a plain encoder with the same features."""
        encoder = copy.deepcopy(self.encoder)
        encoder.load_state_dict(encoder.state_dict() | self.weights())
        return encoder


def without_updates(encoder: nn.Module) -> nn.Module:
    """The encoder itself, or what it is with the updates of LoRA merged."""
    return encoder.merged() if isinstance(encoder, LoRA) else encoder
