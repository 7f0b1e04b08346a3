"""A temperature and a bias that learn."""

import math

import torch
from torch import Tensor, nn

COLDEST = 0.01  # CLIP's (Radford et al. 2021, https://arxiv.org/abs/2103.00020, 2.5)


class Learned(nn.Module):
    """Scalars of a loss as parameters; neither decays, a temperature learns as its logarithm.

    A hard bound inside of the forward would stop its gradient, so `bound` moves it back afterwards.

    Args:
        start: of `temperature`, of `bias`, or of both.
    """

    def __init__(self, **start: float) -> None:
        super().__init__()
        if unknown := start.keys() - {"temperature", "bias"}:
            raise ValueError(f"no such scalar learns: {', '.join(sorted(unknown))}")
        if "temperature" in start:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(start["temperature"])))
        if "bias" in start:
            self.bias = nn.Parameter(torch.tensor(float(start["bias"])))

    def values(self) -> dict[str, Tensor]:
        """As a loss takes them."""
        found = {}
        if hasattr(self, "log_temperature"):
            found["temperature"] = self.log_temperature.exp()
        if hasattr(self, "bias"):
            found["bias"] = self.bias
        return found

    @torch.no_grad()
    def bound(self) -> None:
        """After a step: no temperature below `COLDEST`, none above 1 / COLDEST."""
        if hasattr(self, "log_temperature"):
            self.log_temperature.clamp_(math.log(COLDEST), -math.log(COLDEST))
