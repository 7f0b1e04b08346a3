"""The memory backend on a GPU: pixels on the device, a batch of views by batched operations there.

Every operation is that of `cl.data.kernel`, with the same drawn numbers; only the rounding differs.
It runs on any device; on a CPU the kernel is many times faster.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float, UInt8
from torch import Tensor

from cl.data.batch import Batch
from cl.data.draw import (
    COUNT,
    FACTORS,
    FLIP,
    GRAY,
    HEIGHT,
    JITTER,
    LEFT,
    ORDER,
    SIGMA,
    SOLARISE,
    TOP,
    WIDTH,
    draw_many,
)
from cl.data.loaders import Loader, by_size
from cl.data.recipe import Recipe
from cl.data.sampler import Index, Sampler
from cl.data.sources import Images

RGB = (0.2989, 0.587, 0.114)  # ITU-R 601, as PIL


class DeviceLoader(Loader):
    """Views of images whose pixels are in memory, made on a device.

    Args:
        images: with `pixels`.
        recipes: of the views, a size each.
        sampler: which samples a step sees.
        device: where the pixels are kept, the views are made, and the model is.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        sampler: Sampler,
        device: torch.device,
    ) -> None:
        super().__init__(images, recipes, sampler)
        self.device = device
        self.pixels: Tensor | None = None

    def batches(self) -> Iterator[Batch]:
        if self.pixels is None:
            assert self.images.pixels is not None
            self.pixels = torch.from_numpy(self.images.pixels).to(self.device)
        for index in self.sampler.remaining():
            images = self.pixels[torch.from_numpy(index).to(self.device)]
            views = [
                torch.cat([self.made(images, index, r, first) for r, first, _ in parts])
                for parts in by_size(self.recipes)
            ]
            yield self.batch([], index)._replace(views=views)

    def made(
        self, images: UInt8[Tensor, "n h w 3"], index: Index, recipe: Recipe, first: int
    ) -> Float[Tensor, "v n 3 size size"]:
        """The views of one recipe."""
        p = np.empty((recipe.views, len(index), COUNT))
        height, width = images.shape[1:3]
        seed, epoch = self.sampler.seed, self.sampler.epoch
        draw_many(recipe.numbers(), seed, epoch, index, first, height, width, p)
        return torch.stack([render(images, of_view, recipe) for of_view in p])


def render(
    images: UInt8[Tensor, "n h w 3"], p: npt.NDArray[np.float64], recipe: Recipe
) -> Float[Tensor, "n 3 size size"]:
    """One view of each image, with given parameters.

    Args:
        images: of one size.
        p: `(n COUNT)` parameters, see `cl.data.draw`.
        recipe: its size, blur width, mean and deviation.
    """
    x = resize(images, p, recipe.size)
    for place in range(4):
        for what, change in enumerate((brightness, contrast, saturation, turn)):
            chosen = (p[:, JITTER] > 0) & (p[:, ORDER + place] == what)
            x = where(chosen, x, change, p[:, FACTORS + what])
    x = where(p[:, GRAY] > 0, x, lambda x, _: gray(x).expand_as(x), p[:, GRAY])
    x = where(p[:, SIGMA] > 0, x, lambda x, s: blur(x, s, recipe.blur_kernel), p[:, SIGMA])
    x = where(p[:, SOLARISE] > 0, x, lambda x, _: torch.where(x >= 0.5, 1 - x, x), p[:, SOLARISE])
    mean, std = (x.new_tensor(t).view(3, 1, 1) for t in (recipe.mean, recipe.std))
    return (x - mean) / std


def where(
    chosen: npt.NDArray[np.bool_],
    x: Tensor,
    change: Callable[[Tensor, Tensor], Tensor],
    value: npt.NDArray[np.float64],
) -> Tensor:
    """`x` with the chosen samples changed by `change(samples, values)`."""
    at = np.flatnonzero(chosen)
    if not len(at):
        return x
    index = torch.from_numpy(at).to(x.device)
    values = torch.from_numpy(value[at]).to(x).view(-1, 1, 1, 1)
    return x.index_copy(0, index, change(x[index], values))


def resize(
    images: UInt8[Tensor, "n h w 3"], p: npt.NDArray[np.float64], size: int
) -> Float[Tensor, "n 3 size size"]:
    """The crops, resized with antialias and flipped, in 0 to 1: a product with two matrices."""
    windows = torch.from_numpy(p[:, [TOP, LEFT, HEIGHT, WIDTH, FLIP]]).to(images.device)
    top, left, height, width, flip = windows.float().unbind(dim=1)
    down = taps(top, height, size, images.shape[1])
    across = taps(left, width, size, images.shape[2])
    across = torch.where(flip.view(-1, 1, 1) > 0, across.flip(1), across)
    x = rearrange(images, "n h w c -> n c h w").float() / 255
    return down[:, None] @ x @ across[:, None].mT


def taps(
    first: Float[Tensor, " n"], length: Float[Tensor, " n"], size: int, whole: int
) -> Float[Tensor, "n size whole"]:
    """What each output averages: of a window's inputs a triangle as wide as a step."""
    first, length = (t.view(-1, 1, 1) for t in (first, length))
    step = length / size
    centre = (torch.arange(size, device=first.device).view(-1, 1) + 0.5) * step
    at = torch.arange(whole, device=first.device) - first
    weight = (1 - (at - centre + 0.5).abs() / step.clamp(min=1)).clamp(min=0)
    weight = weight * ((at >= 0) & (at < length))
    return weight / weight.sum(dim=2, keepdim=True)


def gray(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    return (x * x.new_tensor(RGB).view(3, 1, 1)).sum(dim=1, keepdim=True)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    mean = reduce(gray(x), "n 1 h w -> n 1 1 1", "mean")
    return (x * factor + mean * (1 - factor)).clamp(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor + gray(x) * (1 - factor)).clamp(0, 1)


def turn(x: Float[Tensor, "n 3 h w"], by: Float[Tensor, "n 1 1 1"]) -> Float[Tensor, "n 3 h w"]:
    """Turn the hue by parts of a circle: to HSV and back in one formula."""
    high, low = x.amax(dim=1), x.amin(dim=1)
    chroma = high - low
    inverse = 1 / torch.where(chroma > 0, chroma, 1)
    r, g, b = x.unbind(dim=1)
    hue = torch.where(high == g, (b - r) * inverse + 2, (r - g) * inverse + 4)
    hue = torch.where(high == r, (g - b) * inverse, hue)
    k = hue[:, None] + 6 * by + x.new_tensor([5, 3, 1]).view(3, 1, 1)
    k = k % 6
    return high[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(
    x: Float[Tensor, "n 3 h w"], sigma: Float[Tensor, "n 1 1 1"], width: int
) -> Float[Tensor, "n 3 h w"]:
    """Gaussian of `width` taps, the border mirrored."""
    half = width // 2
    offset = torch.arange(-half, half + 1, device=x.device) / sigma.view(-1, 1)
    weight = torch.exp(-0.5 * offset.square())
    weight = weight / weight.sum(dim=1, keepdim=True)
    for dim in (2, 3):
        padded = F.pad(x, (0, 0, half, half) if dim == 2 else (half, half, 0, 0), mode="reflect")
        x, size = torch.zeros_like(x), x.shape[dim]
        for k in range(width):
            x += weight[:, k].view(-1, 1, 1, 1) * padded.narrow(dim, k, size)
    return x
