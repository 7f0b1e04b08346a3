"""The exponential moving average of a module."""

import copy

import torch
from torch import nn


class Ema(nn.Module):
    """Exponential moving average of modules: `.module` is a copy without gradients.

    Args:
        *online: the modules that are averaged; `.module` applies them one after the other.
    """

    def __init__(self, *online: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(nn.Sequential(*online)).requires_grad_(False)

    @torch.no_grad()
    def update(self, decay: float, *online: nn.Module) -> None:
        """Set weights and running statistics to decay * average + (1 - decay) * online.

        Args:
            decay: 0 copies the online modules, 1 changes nothing.
            *online: the modules that it was made of.
        """
        theirs = nn.Sequential(*online).state_dict()
        averages, values, seen = [], [], set[tuple[object, ...]]()
        for name, own in self.module.state_dict().items():
            if own.is_floating_point():
                place = own.data_ptr(), own.shape, own.stride()
                if own.numel() and place in seen:  # tied: it is moved once
                    continue
                seen.add(place)
                averages.append(own)
                values.append(theirs[name])
            else:  # a count
                own.copy_(theirs[name])
        # On a GPU a few kernels and not one for each tensor.
        torch._foreach_lerp_(averages, values, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
