"""A view from its pixels: crop, resize, flip, jitter, gray, blur, solarize, normalise, in one go.

Compiled for one image and without threads of its own; it releases the interpreter's lock, so
loaders run it on as many threads as they like. Colours are exact (hue through HSV), the order of
the jitter is the sample's, shrinking is antialiased; each operation equals torchvision's on floats.

Numba's cache on disk follows this file alone, so who changes `cl.data.augment.draw` touches this
one, too.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit

from cl.data.augment.draw import (
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
    compiled,
    draw,
)

RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)  # ITU-R 601, as PIL
ZERO, ONE, FOUR = np.float32(0), np.float32(1), np.float32(4)
fast = compiled(fastmath={"contract", "reassoc", "arcp", "nsz"})
inline = njit(inline="always", fastmath={"contract", "reassoc", "arcp", "nsz"})


@inline
@no_type_check
def clamp(x):
    return min(max(x, ZERO), ONE)


@fast
@no_type_check
def taps(length, size, first, count, weight):
    """Which of `length` inputs each of `size` outputs averages: a triangle as wide as a step."""
    step = length / size
    reach = max(step, 1.0)
    for i in range(size):
        centre = (i + 0.5) * step
        low = max(0, int(centre - reach + 0.5))
        high = min(length, int(centre + reach + 0.5))
        total = 0.0
        for j in range(low, high):
            w = max(0.0, 1.0 - abs(j - centre + 0.5) / reach)
            weight[i, j - low] = w
            total += w
        for j in range(high - low):
            weight[i, j] /= total
        first[i], count[i] = low, high - low


@fast
@no_type_check
def resize(image, top, left, height, width, flip, planes):
    """The crop of a `(h w 3)` uint8 image as three planes `(size, size)` of floats in 0 to 1.

    Down first: a row of the crop is one piece of memory, which the processor takes many pixels at a
    time, and few rows are left to be resized across. Places are unsigned, since Numba would count
    negative ones from the end.
    """
    size = planes.shape[1]
    most = int(2 * max(height, width) / size) + 4
    first, count = np.empty((2, size), np.int64), np.empty((2, size), np.int64)
    weight = np.empty((2, size, most), np.float32)
    taps(height, size, first[0], count[0], weight[0])
    taps(width, size, first[1], count[1], weight[1])
    pixels, scale = image.reshape(image.shape[0], -1), np.float32(1 / 255)
    row = np.empty(3 * width, np.float32)
    for y in range(size):
        for k in range(count[0, y]):
            w = weight[0, y, k] * scale
            piece = pixels[top + first[0, y] + k, 3 * left : 3 * (left + width)]
            if k == 0:
                for i in range(3 * width):
                    row[i] = w * piece[i]
            else:
                for i in range(3 * width):
                    row[i] += w * piece[i]
        for x in range(size):
            r, g, b = ZERO, ZERO, ZERO
            at = np.uint64(3 * first[1, x])
            for k in range(np.uint64(count[1, x])):
                w = weight[1, x, k]
                r += w * row[at]
                g += w * row[at + np.uint64(1)]
                b += w * row[at + np.uint64(2)]
                at += np.uint64(3)
            to = size - 1 - x if flip else x
            planes[0, y, to], planes[1, y, to], planes[2, y, to] = r, g, b


@fast
@no_type_check
def jitter(r, g, b, p):
    """Brightness, contrast, saturation and hue of flat planes, in the sample's order."""
    for k in range(4):
        what = int(p[ORDER + k])
        f = np.float32(p[FACTORS + what])
        if what == 0:
            for i in range(r.size):
                r[i], g[i], b[i] = clamp(r[i] * f), clamp(g[i] * f), clamp(b[i] * f)
        elif what == 1:
            mean = ZERO
            for i in range(r.size):
                mean += RED * r[i] + GREEN * g[i] + BLUE * b[i]
            m = mean / np.float32(r.size) * (ONE - f)
            for i in range(r.size):
                r[i], g[i], b[i] = clamp(r[i] * f + m), clamp(g[i] * f + m), clamp(b[i] * f + m)
        elif what == 2:
            for i in range(r.size):
                m = (RED * r[i] + GREEN * g[i] + BLUE * b[i]) * (ONE - f)
                r[i], g[i], b[i] = clamp(r[i] * f + m), clamp(g[i] * f + m), clamp(b[i] * f + m)
        elif f != ZERO:
            turn(r, g, b, f * np.float32(6))


@fast
@no_type_check
def turn(r, g, b, by):
    """Turn the hue by sixths of a circle: to HSV and back in one formula."""
    for i in range(r.size):
        high, low = max(r[i], max(g[i], b[i])), min(r[i], min(g[i], b[i]))
        chroma = high - low
        inverse = ONE / (chroma if chroma > ZERO else ONE)
        if high == r[i]:
            hue = (g[i] - b[i]) * inverse
        elif high == g[i]:
            hue = (b[i] - r[i]) * inverse + np.float32(2)
        else:
            hue = (r[i] - g[i]) * inverse + FOUR
        hue += by
        r[i] = channel(hue + np.float32(5), high, chroma)
        g[i] = channel(hue + np.float32(3), high, chroma)
        b[i] = channel(hue + ONE, high, chroma)


@inline
@no_type_check
def channel(k, high, chroma):
    k = k - np.float32(6) * np.float32(math.floor(k * np.float32(1 / 6)))
    return high - chroma * max(ZERO, min(min(k, FOUR - k), ONE))


@fast
@no_type_check
def blur(plane, sigma, width):
    """Gaussian of `width` taps over a plane, its border mirrored.

    Taps beyond six deviations weigh less than 2e-8 of the middle one and are left out.
    """
    size, half = plane.shape[0], width // 2
    near = min(half, int(6 * sigma) + 1)
    weight = np.empty(2 * near + 1, np.float32)
    for k in range(2 * near + 1):
        weight[k] = math.exp(-0.5 * ((k - near) / sigma) ** 2)
    weight /= weight.sum()
    across = np.empty_like(plane)
    blur_rows(plane, weight, across)
    for y in range(size):
        for x in range(size):
            plane[y, x] = ZERO
        for k in range(2 * near + 1):
            w, at = weight[k], mirrored(y + k - near, size)
            for x in range(size):
                plane[y, x] += w * across[at, x]


@fast
@no_type_check
def blur_rows(plane, weight, out):
    """Each row with its mirrored ends in one piece, so that a tap is one pass over it."""
    size, near = plane.shape[1], len(weight) // 2
    row = np.empty(size + 2 * near, np.float32)
    for y in range(plane.shape[0]):
        for x in range(size):
            row[near + x] = plane[y, x]
        for k in range(near):
            row[k] = plane[y, mirrored(k - near, size)]
            row[near + size + k] = plane[y, mirrored(size + k, size)]
        for x in range(size):
            out[y, x] = weight[0] * row[x]
        for k in range(1, 2 * near + 1):
            w = weight[k]
            for x in range(size):
                out[y, x] += w * row[x + k]


@inline
@no_type_check
def mirrored(i, size):
    if i < 0:
        return -i
    return 2 * size - 2 - i if i >= size else i


@fast
@no_type_check
def render(image, p, blur_width, mean, std, out):
    """One view with given parameters.

    Args:
        image: `(h w 3)` uint8.
        p: the parameters, see `cl.data.augment.draw`.
        blur_width: taps of the blur.
        mean: `(3)` float32.
        std: `(3)` float32.
        out: `(3 size size)` float32, filled.
    """
    resize(image, int(p[TOP]), int(p[LEFT]), int(p[HEIGHT]), int(p[WIDTH]), p[FLIP] > 0, out)
    flat = out.reshape(3, -1)
    r, g, b = flat[0], flat[1], flat[2]
    if p[JITTER] > 0:
        jitter(r, g, b, p)
    if p[GRAY] > 0:
        for i in range(r.size):
            v = RED * r[i] + GREEN * g[i] + BLUE * b[i]
            r[i], g[i], b[i] = v, v, v
    if p[SIGMA] > 0:
        for c in range(3):
            blur(out[c], p[SIGMA], blur_width)
    for c in range(3):
        plane, m, s = flat[c], mean[c], ONE / std[c]
        for i in range(plane.size):
            v = plane[i]
            plane[i] = ((ONE - v if p[SOLARISE] > 0 and v >= np.float32(0.5) else v) - m) * s


@fast
@no_type_check
def views(image, numbers, blur_width, mean, std, seed, epoch, sample, first, out, at):
    """All views of a recipe of one sample, numbered from `first`, into `out[:, at]`.

    `out` is `(v n 3 size size)`.
    """
    p = np.empty(17)
    for v in range(out.shape[0]):
        draw(numbers, seed, epoch, sample, first + v, image.shape[0], image.shape[1], p)
        render(image, p, blur_width, mean, std, out[v, at])


@fast
@no_type_check
def many(pixels, samples, numbers, blur_width, mean, std, seed, epoch, first, out, at):
    """`views` of samples of `(n h w 3)` pixels, the first of them `at`."""
    for i in range(len(samples)):
        image, sample = pixels[samples[i]], samples[i]
        views(image, numbers, blur_width, mean, std, seed, epoch, sample, first, out, at + i)


@fast
@no_type_check
def plain(image, share, mean, std, out):
    """The central square that keeps `share` of the shorter side, resized and normalised."""
    height, width = image.shape[0], image.shape[1]
    side = max(1, round(min(height, width) * share))
    resize(image, (height - side) // 2, (width - side) // 2, side, side, False, out)
    for c in range(3):
        m, s = mean[c], ONE / std[c]
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[c, y, x] = (out[c, y, x] - m) * s
