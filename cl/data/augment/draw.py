"""A view's parameters, drawn by a counter-based generator.

A number is a hash of (seed, epoch, sample, view) and of its place among the parameters, so a sample
has the same views whatever the batch size, the number of workers or of devices, and wherever a run
was interrupted. The hash is SplitMix64's finaliser (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators").
"""

import math
from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
from numba import njit

# Places of the parameters of a view.
TOP, LEFT, HEIGHT, WIDTH, FLIP, JITTER = 0, 1, 2, 3, 4, 5
ORDER, FACTORS, GRAY, SIGMA, SOLARISE, COUNT = 6, 10, 14, 15, 16, 17
# Groups of them that a view can share with the first view of its sample; see `Recipe.shared`.
GROUPS = ("crop", "flip", "color", "blur", "solarize")
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TRIES = 10  # as torchvision's RandomResizedCrop


def compiled(**options: Any) -> Callable[..., Any]:
    """`njit` without the lock, kept on disk in __pycache__ or in the user's cache.

    Where neither can be written each process compiles for itself.
    """

    def of(function: Callable[..., Any]) -> Any:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba finds no folder for it
            return njit(nogil=True, **options)(function)

    return of


@njit(inline="always")
@no_type_check
def mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
@no_type_check
def key_of(seed, epoch, sample, view):
    """The stream of a view."""
    # One after the other into the same hash: epoch 1 of seed 2 is not epoch 2 of seed 1.
    key = mix(np.uint64(seed) + GOLDEN)
    key = mix(key + np.uint64(epoch) + GOLDEN)
    key = mix(key + np.uint64(sample) + GOLDEN)
    return mix(key + np.uint64(view) + GOLDEN)


@njit(inline="always")
@no_type_check
def uniform(key, place, low, high):
    """The number at a place of a stream, uniform in [low, high)."""
    bits = mix(key + np.uint64(place + 1) * GOLDEN) >> np.uint64(11)
    return low + (high - low) * (np.float64(bits) * (1.0 / 9007199254740992.0))


@compiled()
@no_type_check
def draw(numbers, seed, epoch, sample, view, height, width, p):
    """Fill `p` with the parameters of a view of a `height` x `width` image.

    Args:
        numbers: of `Recipe.numbers`.
        seed: of the run.
        epoch: of the run.
        sample: its number in the data set.
        view: its number among the views of the sample.
        height: of the image in pixels.
        width: of the image in pixels.
        p: `COUNT` numbers, in the places named above; no blur is SIGMA 0.
    """
    own, shared = key_of(seed, epoch, sample, view), int(numbers[16])
    first = key_of(seed, epoch, sample, 0) if shared else own
    crop(numbers, first if shared & 1 else own, height, width, p)
    p[FLIP] = uniform(first if shared & 2 else own, 100, 0.0, 1.0) < numbers[4]
    key = first if shared & 4 else own
    p[JITTER] = uniform(key, 101, 0.0, 1.0) < numbers[5]
    for i in range(4):
        p[ORDER + i] = i
    for i in range(3 if numbers[15] > 0 else 0):  # Fisher and Yates
        j = i + int(uniform(key, 102 + i, 0.0, 4.0 - i))
        p[ORDER + i], p[ORDER + j] = p[ORDER + j], p[ORDER + i]
    for i in range(3):
        low = max(0.0, 1.0 - numbers[6 + i])
        p[FACTORS + i] = uniform(key, 105 + i, low, 1.0 + numbers[6 + i])
    p[FACTORS + 3] = uniform(key, 108, -numbers[9], numbers[9])
    p[GRAY] = uniform(key, 109, 0.0, 1.0) < numbers[10]
    key = first if shared & 8 else own
    blurred = uniform(key, 110, 0.0, 1.0) < numbers[11]
    p[SIGMA] = uniform(key, 111, numbers[12], numbers[13]) if blurred else 0.0
    p[SOLARISE] = uniform(first if shared & 16 else own, 112, 0.0, 1.0) < numbers[14]


@compiled()
@no_type_check
def draw_many(numbers, seed, epoch, samples, first, height, width, p):
    """`draw` for the views `(v n COUNT)` of samples whose images have one size."""
    for v in range(p.shape[0]):
        for i in range(p.shape[1]):
            draw(numbers, seed, epoch, samples[i], first + v, height, width, p[v, i])


@compiled()
@no_type_check
def crop(numbers, key, height, width, p):
    """Torchvision's RandomResizedCrop: ten tries, then the largest central crop allowed."""
    for t in range(TRIES):
        area = height * width * uniform(key, 4 * t, numbers[0], numbers[1])
        ratio = math.exp(uniform(key, 4 * t + 1, numbers[2], numbers[3]))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            p[TOP] = int(uniform(key, 4 * t + 2, 0.0, height - h + 1.0))
            p[LEFT] = int(uniform(key, 4 * t + 3, 0.0, width - w + 1.0))
            p[HEIGHT], p[WIDTH] = h, w
            return
    low, high = math.exp(numbers[2]), math.exp(numbers[3])
    h, w = height, width
    if width / height < low:
        h = min(height, round(width / low))
    elif width / height > high:
        w = min(width, round(height * high))
    p[TOP], p[LEFT], p[HEIGHT], p[WIDTH] = (height - h) // 2, (width - w) // 2, h, w
