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
        moving, towards = [], []
        for name, own in self.module.state_dict().items():
            if own.is_floating_point():
                moving.append(own)
                towards.append(theirs[name])
            else:  # a count
                own.copy_(theirs[name])
        # On a GPU a few kernels and not one for each tensor.
        torch._foreach_lerp_(moving, towards, 1 - beta)  # pyright: ignore[reportPrivateImportUsage]
