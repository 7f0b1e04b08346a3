"""What a network takes of views that are bytes, as worker processes hand them over."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cl.data.augment.recipe import Recipe


def unnormalized(recipe: Recipe) -> Recipe:
    """The recipe of views that are not normalized: in 0 to 1."""
    return recipe.changed({"mean": (0.0,) * recipe.channels, "std": (1.0,) * recipe.channels})


class Normalization:
    r"""$(x / 255 - mean) / std$ of bytes, on any device.

    Args:
        recipes: of the views of one size, in their order; their mean and std are used.
        device: of the bytes.

    >>> halves = Recipe(size=1, mean=(0.5,) * 3, std=(0.5,) * 3, views=1)
    >>> x = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 1, 3, 1, 1)
    >>> Normalization([halves], torch.device("cpu"))(x).flatten()
    tensor([-1.0000,  1.0000, -0.6000])
    """

    def __init__(self, recipes: Sequence[Recipe], device: torch.device) -> None:
        each = [recipe for recipe in recipes for _ in range(recipe.views)]
        mean, std = (
            torch.tensor([getattr(recipe, name) for recipe in each], dtype=torch.float64)
            for name in ("mean", "std")
        )
        numbers = torch.stack([1 / (255 * std), -mean / std])[:, :, None, :, None, None]
        self.scale, self.shift = numbers.float().to(device)

    def __call__(self, views: UInt8[Tensor, "v n c h w"]) -> Float[Tensor, "v n c h w"]:
        return torch.addcmul(self.shift, views.float(), self.scale)
