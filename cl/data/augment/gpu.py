"""Views by batched operations, all views of one size together: what `cl.data.loaders.device` runs.

Every operation is that of `cl.data.augment.cpu`, with the same drawn numbers; only the rounding
differs.
What is done to a batch at all is decided from the numbers on the host, and no shape depends on
pixels, so that nothing waits for the device. The cost is launches and passes over memory, hence:

- brightness, contrast, saturation and gray are one blend, `keep x + to_mean mean + to_gray gray`,
  and a view that has none of them is kept exactly, whatever else is in the batch;
- hue, the longest, is computed once: what an order puts behind it goes to the blends behind it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor

from cl.data.augment.cpu import JITTER
from cl.data.augment.recipe import Recipe

Numbers = npt.NDArray[np.float32]
RGB = (0.2989, 0.587, 0.114)  # ITU-R 601, as PIL
BEFORE, BLENDS = 3, 7  # three blends, the hue, three blends, gray
# Rows of a view's coefficients. Of its window, down and across: first pixel and length, where the
# first output lies in it, an output's step, and how steeply a pixel's weight falls.
FIRST, LENGTH, START, STEP, SLOPE = (slice(i, i + 2) for i in range(0, 10, 2))
KEEP, TO_MEAN, TO_GRAY = (slice(i, i + BLENDS) for i in range(10, 31, BLENDS))
HUE, SHARPNESS, LIMIT, ROWS = 31, 32, 33, 34
NO_BLUR, NO_LIMIT = 1e6, 2.0  # neighbors weigh exp(-5e5), which is 0; no pixel is as bright


def coefficients(p: np.ndarray, size: int) -> Numbers:
    """What the device needs of drawn parameters `(v n)` of type `VIEW`, as `(ROWS n v)`."""
    p = p.T
    c = np.zeros((ROWS, *p.shape), np.float32)
    window = np.stack([p["height"], p["width"]])
    c[FIRST], c[LENGTH] = [p["top"], p["left"]], window
    step = window / size
    mirrored = np.stack([np.zeros_like(p["flip"]), p["flip"]])
    c[START] = np.where(mirrored, size - 0.5, 0.5) * step - 0.5
    c[STEP] = np.where(mirrored, -step, step)
    c[SLOPE] = -1 / np.maximum(step, 1)
    c[KEEP] = 1
    *places, hue_place = [(p["order"] == what).argmax(axis=-1) for what in range(len(JITTER))]
    for name, rows, place in zip(JITTER, (None, TO_MEAN, TO_GRAY), places, strict=False):
        blend = (place + 2 * (place > hue_place))[None]
        factor = np.where(p["jitter"], p[name], 1)[None]
        np.put_along_axis(c[KEEP], blend, factor, axis=0)
        if rows:
            np.put_along_axis(c[rows], blend, 1 - factor, axis=0)
    c[KEEP][-1], c[TO_GRAY][-1] = ~p["gray"], p["gray"]
    c[HUE] = np.where(p["jitter"], 6 * p["hue"], 0)
    blurred = p["sigma"] > 0
    c[SHARPNESS] = np.where(blurred, 1 / np.where(blurred, p["sigma"], 1) ** 2, NO_BLUR)
    c[LIMIT] = np.where(p["solarize"], 0.5, NO_LIMIT)
    return c


class Renderer:
    """Views of one size of images of one size; what does not change is on the device.

    Args:
        recipes: of the views, in turn; of one size.
        height: of the images in pixels.
        width: of the images in pixels.
        device: of images and views.
    """

    def __init__(
        self, recipes: Sequence[Recipe], height: int, width: int, device: torch.device
    ) -> None:
        def constant(values: npt.ArrayLike) -> Tensor:
            return torch.from_numpy(np.array(values, np.float32)).to(device)

        self.size, half = recipes[0].size, recipes[0].blur_kernel // 2
        mean, std = (
            np.array([getattr(recipe, name) for recipe in recipes for _ in range(recipe.views)])
            for name in ("mean", "std")
        )
        self.scale, self.shift = (
            constant(rearrange(x, "v c -> v c 1 1")) for x in (1 / std, -mean / std)
        )
        bicubic = [r.crop_interpolation == "bicubic" for r in recipes for _ in range(r.views)]
        self.some_bicubic, self.all_bicubic = any(bicubic), all(bicubic)
        self.bicubic = torch.tensor(bicubic, device=device)[:, None, None]
        self.pixels = constant(np.arange(max(height, width)))
        self.outputs = constant(np.arange(self.size)[:, None])
        self.levels = constant(np.reshape([255, 1], (2, 1, 1, 1, 1)))
        self.rgb = constant(np.reshape(RGB, (3, 1, 1)))
        self.sixths = constant(np.reshape([0, 2, 4], (3, 1, 1)))
        self.channels = constant(np.reshape([5, 3, 1], (3, 1, 1)))
        self.bell = constant(-0.5 * np.arange(-half, half + 1) ** 2)

    def __call__(
        self,
        images: UInt8[Tensor, "n h w 3"],
        host: Numbers,
        c: Float[Tensor, "rows n v"],
        out: Float[Tensor, "v n 3 size size"],
    ) -> None:
        """Fill `out` with the views of images.

        Args:
            images: of the size that was said.
            host: `(ROWS n v)` coefficients.
            c: the same numbers on the device.
            out: may be a part of a tensor.
        """
        x = self.resize(images, c)
        c = rearrange(c, "rows n v -> rows (n v) 1 1 1")
        for i in range(BLENDS):
            if i == BEFORE and host[HUE].any():
                x = self.turn(x, c[HUE])
            if (host[KEEP][i] != 1).any():
                x = self.blend(x, c[KEEP][i], c[TO_MEAN][i], c[TO_GRAY][i])
        if (host[SHARPNESS] != NO_BLUR).any():
            x = self.blur(x, c[SHARPNESS])
        if (host[LIMIT] != NO_LIMIT).any():
            x = torch.where(x >= c[LIMIT], 1 - x, x)
        x = rearrange(x, "(n v) c h w -> n v c h w", v=len(out))
        torch.addcmul(self.shift, x, self.scale, out=rearrange(out, "v n c h w -> n v c h w"))

    def resize(
        self, images: UInt8[Tensor, "n h w 3"], c: Float[Tensor, "rows n v"]
    ) -> Float[Tensor, "nv 3 size size"]:
        """The crops, resized with antialias and flipped, in 0 to 1: a product with two matrices."""
        (_, height, width, _), views = images.shape, c.shape[2]
        taps = self.taps(c)
        down = rearrange(taps[0, ..., :height], "n v i h -> n (v i) h")
        x = product(down, rearrange(images.float(), "n h w c -> n h (w c)"))
        x = rearrange(x, "n (v i) (w c) -> (n v) (c i) w", v=views, c=3)
        across = rearrange(taps[1, ..., :width], "n v j w -> (n v) w j")
        # Weights of a white area add up to 1 but for rounding, and a blend would cut off the rest.
        return rearrange(product(x, across), "nv (c i) j -> nv c i j", c=3).clamp_(0, 1)

    def taps(self, c: Float[Tensor, "rows n v"]) -> Float[Tensor, "2 n v size whole"]:
        """What each output averages: of a window's inputs a triangle as wide as a step, or a cubic.

        The triangle is what a distance in steps lacks to 1.
        """
        first, length, start, step, slope = (
            rearrange(c[rows], "side n v -> side n v 1 1")
            for rows in (FIRST, LENGTH, START, STEP, SLOPE)
        )
        at = self.pixels - first
        inside = torch.minimum(at + 1, length - at).clamp_(0, 1)
        distance = (at - torch.addcmul(start, step, self.outputs)).abs_()
        weight = torch.addcmul(inside, distance, slope).clamp_(min=0)
        if self.some_bicubic:
            cubic = cubic_weight(torch.addcmul(2 * inside, distance, slope).clamp_(min=0), weight)
            weight = cubic if self.all_bicubic else torch.where(self.bicubic, cubic, weight)
        return weight.div_(weight.sum(dim=-1, keepdim=True).mul_(self.levels))

    def gray(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
        return (x * self.rgb).sum(dim=1, keepdim=True)

    def blend(
        self,
        x: Float[Tensor, "n 3 h w"],
        keep: Float[Tensor, "n 1 1 1"],
        to_mean: Float[Tensor, "n 1 1 1"],
        to_gray: Float[Tensor, "n 1 1 1"],
    ) -> Float[Tensor, "n 3 h w"]:
        """Brightness, contrast, saturation, or nothing, whichever is each sample's."""
        gray = self.gray(x)
        mean = gray.mean(dim=(2, 3), keepdim=True)
        return torch.addcmul(torch.addcmul(to_mean * mean, to_gray, gray), keep, x).clamp_(0, 1)

    def turn(
        self, x: Float[Tensor, "n 3 h w"], by: Float[Tensor, "n 1 1 1"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Turn the hue by sixths of a circle: to HSV and back in one formula."""
        high, brightest = x.max(dim=1, keepdim=True)
        chroma = high - x.amin(dim=1, keepdim=True)
        inverse = chroma.clamp(min=1e-12).reciprocal_()
        others = x.roll(-1, dims=1).sub_(x.roll(1, dims=1))  # g - b, b - r, r - g
        hue = torch.addcmul(self.sixths, others, inverse).gather(1, brightest)
        k = (hue + (by + self.channels)).remainder_(6)
        turned = torch.addcmul(high, chroma, torch.minimum(k, 4 - k).clamp_(0, 1), value=-1)
        return torch.where(by != 0, turned, x)

    def blur(
        self, x: Float[Tensor, "n 3 h w"], sharpness: Float[Tensor, "n 1 1 1"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Gaussian, the border mirrored: a channel of a sample is a group with weights its own."""
        half = len(self.bell) // 2
        # exp(-k^2 / 2 sigma^2) over its sum is a softmax. Depthwise in float32 is torch's own
        # kernel on a GPU, not cuDNN's, which rounds to TF32 by default.
        weight = (rearrange(sharpness, "n 1 1 1 -> n 1") * self.bell).softmax(dim=1)
        weight = repeat(weight, "n k -> (n c) 1 k 1", c=3)
        padded = F.pad(x, (half, half, half, half), mode="reflect")
        y = rearrange(padded, "n c h w -> 1 (n c) h w")
        y = F.conv2d(y, weight, groups=len(weight))
        y = F.conv2d(y, rearrange(weight, "nc 1 k 1 -> nc 1 1 k"), groups=len(weight))
        return rearrange(y, "1 (n c) h w -> n c h w", c=3)


def cubic_weight(
    to_2: Float[Tensor, "*shape"], to_1: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The cubic of `cl.data.augment.cpu.keys_cubic`, in one formula for all distances.

    Args:
        to_2: what a distance lacks to 2; 0 beyond.
        to_1: what it lacks to 1; 0 beyond.
    """
    outer = (to_2 - 1).mul_(to_2).mul_(to_2).mul_(0.5)
    return outer.addcmul_((2 * to_1).sub_(1).mul_(to_1), to_1, value=-1)


def render(
    images: UInt8[Tensor, "n h w 3"], p: np.ndarray, recipe: Recipe
) -> Float[Tensor, "n 3 size size"]:
    """One view of each image, with given parameters `(n)` of type `VIEW`."""
    n, height, width, _ = images.shape
    renderer = Renderer([recipe.changed({"views": 1})], height, width, images.device)
    host, size = coefficients(p[None], recipe.size), recipe.size
    out = images.new_empty((1, n, 3, size, size), dtype=torch.float32)
    renderer(images, host, torch.from_numpy(host).to(images.device), out)
    return out[0]


def product(a: Float[Tensor, "n i k"], b: Float[Tensor, "n k j"]) -> Float[Tensor, "n i j"]:
    """`a @ b` to float32's precision, also where a user has let products round to TF32.

    The setting is the process's, and another thread is training under it: it is read here, and
    instead of changing it, numbers are taken apart into two that TF32 holds.
    """
    setting = getattr(torch.backends.cuda.matmul, "fp32_precision", None)  # from torch 2.9 on
    if (setting or torch.get_float32_matmul_precision()) in ("ieee", "none", "highest"):
        return a @ b
    (a, a_rest), (b, b_rest) = halves(a), halves(b)
    return a @ b + (a @ b_rest + a_rest @ b)


def halves(x: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The first ten bits behind a number's leading one, and the rest."""
    high = (x.view(torch.int32) & -(1 << 13)).view(torch.float32)
    return high, x - high
