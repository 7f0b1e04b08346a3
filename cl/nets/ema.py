"""A copy that follows slowly: the exponential moving average of a module."""

import copy

import torch
from torch import nn


class Ema(nn.Module):
    """Holds `.module`, a copy without gradients that `follow` moves towards the original.

    Args:
        *online: the modules that are followed, one after the other as one.
    """

    def __init__(self, *online: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(nn.Sequential(*online)).requires_grad_(False)

    @torch.no_grad()
    def follow(self, beta: float, *online: nn.Module) -> None:
        """Weights and running statistics become beta of themselves and the rest of the original's.

        Args:
            beta: 0 copies, 1 stands still.
            *online: the modules it was made of.
        """
        theirs = nn.Sequential(*online).state_dict()
        for name, own in self.module.state_dict().items():
            if own.is_floating_point():
                own.lerp_(theirs[name], 1 - beta)
            else:  # a count
                own.copy_(theirs[name])
