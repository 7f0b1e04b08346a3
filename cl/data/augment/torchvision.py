"""The views by torchvision's v2 operations, one by one: what the kernel is tested against.

`--backend torchvision` trains with it, tens of times slower.
"""

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cl.data.augment.cpu import JITTER, VIEW, draw
from cl.data.sets._values import Pixels

Floats = npt.NDArray[np.float32]


def render(image: Pixels, p: np.void, recipe: np.void, out: Floats) -> None:
    """`cl.data.augment.cpu.render` by torchvision."""
    size, width = out.shape[1], int(recipe["blur_kernel"])
    x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    top, left, h, w = (int(p[name]) for name in ("top", "left", "height", "width"))
    how = InterpolationMode.BICUBIC if recipe["bicubic"] else InterpolationMode.BILINEAR
    x = F.resized_crop(x, top, left, h, w, [size, size], how, antialias=True)
    if recipe["bicubic"]:
        x = x.clamp_(0, 1)  # as its operations on PIL's images
    if p["flip"]:
        x = F.horizontal_flip(x)
    colored = len(x) == 3
    if p["jitter"] and colored:
        for name in (JITTER[what] for what in p["order"]):
            x = getattr(F, f"adjust_{name}")(x, float(p[name]))
    if p["gray"] and colored:
        x = F.rgb_to_grayscale(x, num_output_channels=3)
    if p["sigma"]:
        x = F.gaussian_blur(x, [width, width], [float(p["sigma"])] * 2)
    if p["solarize"] and colored:
        x = F.solarize(x, 0.5)
    out[:] = F.normalize(x, recipe["mean"].tolist(), recipe["std"].tolist()).numpy()


def views(
    image: Pixels,
    recipe: np.void,
    seed: int,
    epoch: int,
    sample: int,
    first: int,
    out: Floats,
    at: int,
) -> None:
    """`cl.data.augment.cpu.views` by torchvision: the same numbers drawn, `out[:, at]` filled."""
    p = np.empty(1, VIEW)[0]
    for v in range(len(out)):
        draw(recipe, seed, epoch, sample, first + v, image.shape[0], image.shape[1], p)
        render(image, p, recipe, out[v, at])
