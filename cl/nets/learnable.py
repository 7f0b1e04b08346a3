"""A learnable temperature and a learnable bias."""

import math

import torch
from torch import Tensor, nn

COLDEST = 0.01  # CLIP's (Radford et al. 2021, https://arxiv.org/abs/2103.00020, 2.5)


class Learnable(nn.Module):
    """Scalars of a loss as parameters; a temperature is learned as its logarithm.

    A clamp in the forward pass would stop the gradient, so `bound` clamps after the step.

    Args:
        start: initial value of `temperature`, of `bias`, or of both.

    Raises:
        ValueError: another scalar is named.
    """

    def __init__(self, **start: float) -> None:
        super().__init__()
        if unknown := start.keys() - {"temperature", "bias"}:
            raise ValueError(
                f"only temperature and bias are learnable, not {', '.join(sorted(unknown))}"
            )
        if "temperature" in start:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(start["temperature"])))
        if "bias" in start:
            self.bias = nn.Parameter(torch.tensor(float(start["bias"])))

    def values(self) -> dict[str, Tensor]:
        """The scalars by the names that a loss has for them."""
        found = {}
        if hasattr(self, "log_temperature"):
            found["temperature"] = self.log_temperature.exp()
        if hasattr(self, "bias"):
            found["bias"] = self.bias
        return found

    @torch.no_grad()
    def bound(self) -> None:
        """Keep the temperature between `COLDEST` and its inverse; to be called after a step."""
        if hasattr(self, "log_temperature"):
            self.log_temperature.clamp_(math.log(COLDEST), -math.log(COLDEST))
