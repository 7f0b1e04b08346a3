"""The views by torchvision's v2 operations, one by one: what the kernel is tested against.

`--backend torchvision` trains with it, tens of times slower.
"""

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import functional as F

from cl.data.augment.draw import (
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
    draw,
)

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
JITTERS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def render(
    image: Pixels,
    p: npt.NDArray[np.float64],
    blur_width: int,
    mean: Floats,
    std: Floats,
    out: Floats,
) -> None:
    """`cl.data.augment.cpu.render` by torchvision."""
    size = out.shape[1]
    top, left, height, width = (int(p[i]) for i in (TOP, LEFT, HEIGHT, WIDTH))
    x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    x = F.resized_crop(x, top, left, height, width, [size, size], antialias=True)
    if p[FLIP]:
        x = F.horizontal_flip(x)
    if p[JITTER]:
        for what in p[ORDER : ORDER + 4].astype(int):
            x = JITTERS[what](x, float(p[FACTORS + what]))
    if p[GRAY]:
        x = F.rgb_to_grayscale(x, num_output_channels=3)
    if p[SIGMA]:
        x = F.gaussian_blur(x, [blur_width, blur_width], [float(p[SIGMA])] * 2)
    if p[SOLARISE]:
        x = F.solarize(x, 0.5)
    out[:] = F.normalize(x, mean.tolist(), std.tolist()).numpy()


def views(
    image: Pixels,
    numbers: npt.NDArray[np.float64],
    blur_width: int,
    mean: Floats,
    std: Floats,
    seed: int,
    epoch: int,
    sample: int,
    first: int,
    out: Floats,
    at: int,
) -> None:
    """`cl.data.augment.cpu.views` by torchvision: the same numbers drawn, `out[:, at]` filled."""
    p = np.empty(COUNT)
    for v in range(len(out)):
        draw(numbers, seed, epoch, sample, first + v, image.shape[0], image.shape[1], p)
        render(image, p, blur_width, mean, std, out[v, at])
