"""A view from its pixels: crop, resize, flip, jitter, gray, blur, solarize, normalize, in one pass.

First the parameters of a view are drawn, then the kernel applies them. Both are compiled for one
image, without threads of their own; they release the interpreter's lock, so loaders run them on as
many threads as they like. Colors are exact (hue through HSV), the order of the jitter is the
sample's, shrinking is antialiased; each operation equals torchvision's on floats.

Parameters are drawn by a counter-based generator: a number is a hash of (seed, epoch, sample, view)
and of the draw's own number, so a sample has the same views whatever the batch size, the number of
workers or of devices, and wherever a run was interrupted. The hash is SplitMix64's finalizer
(Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").

Draws and kernel share a file because Numba's cache on disk follows the file of the function that is
called: it would not notice a change in another one.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from cl.jit import FAST, compiled

# The parameters of a view: what every executor (this kernel, gpu, torchvision, dali) applies.
VIEW = np.dtype(
    [
        ("top", np.int64),  # the crop, in pixels
        ("left", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("flip", np.bool_),  # horizontally
        ("jitter", np.bool_),  # whether the next five are applied
        ("order", np.int64, 4),  # of the four operations, as places in JITTER
        ("brightness", np.float64),  # factors
        ("contrast", np.float64),
        ("saturation", np.float64),
        ("hue", np.float64),  # a turn, in circles
        ("gray", np.bool_),
        ("sigma", np.float64),  # of the blur in pixels; 0 is no blur
        ("solarize", np.bool_),
    ],
    align=True,
)
JITTER = ("brightness", "contrast", "saturation", "hue")
BRIGHTNESS, CONTRAST, SATURATION = range(3)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TRIES = 10  # as torchvision's RandomResizedCrop
RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)  # ITU-R 601, as PIL
ZERO, ONE, FOUR = np.float32(0), np.float32(1), np.float32(4)


fast = compiled(fastmath=FAST)
inline = njit(inline="always", fastmath=FAST)


@njit(inline="always")
@no_type_check
def mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
@no_type_check
def stream_of(seed, epoch, sample, view):
    """The stream of random numbers of a view."""
    # One after the other into the same hash: epoch 1 of seed 2 is not epoch 2 of seed 1.
    stream = mix(np.uint64(seed) + GOLDEN)
    stream = mix(stream + np.uint64(epoch) + GOLDEN)
    stream = mix(stream + np.uint64(sample) + GOLDEN)
    return mix(stream + np.uint64(view) + GOLDEN)


@njit(inline="always")
@no_type_check
def uniform(stream, number, low, high):
    """The draw with that number in a stream, uniform in [low, high)."""
    bits = mix(stream + np.uint64(number + 1) * GOLDEN) >> np.uint64(11)
    return low + (high - low) * (np.float64(bits) * (1.0 / 9007199254740992.0))


@compiled()
@no_type_check
def draw(recipe, seed, epoch, sample, view, height, width, p):
    """Draw the parameters of a view of a `height` x `width` image.

    The number of a draw (100, 101, ...) stays what it is: a new augmentation takes the next one,
    so that the views of existing recipes do not change.

    Args:
        recipe: `Recipe.record`.
        seed: of the run.
        epoch: of the run.
        sample: its number in the data set.
        view: its number among the views of the sample.
        height: of the image in pixels.
        width: of the image in pixels.
        p: a record of type `VIEW`, filled.
    """
    own, first = stream_of(seed, epoch, sample, view), stream_of(seed, epoch, sample, 0)
    shared = recipe.shared
    draw_crop(recipe, first if shared.crop else own, height, width, p)
    p.flip = uniform(first if shared.flip else own, 100, 0.0, 1.0) < recipe.flip
    draw_color(recipe, first if shared.color else own, p)
    stream = first if shared.blur else own
    blurred = uniform(stream, 110, 0.0, 1.0) < recipe.blur
    p.sigma = uniform(stream, 111, recipe.blur_sigma[0], recipe.blur_sigma[1]) if blurred else 0.0
    p.solarize = uniform(first if shared.solarize else own, 112, 0.0, 1.0) < recipe.solarize


@compiled()
@no_type_check
def draw_crop(recipe, stream, height, width, p):
    """Torchvision's RandomResizedCrop: ten tries, then the largest central crop allowed."""
    scale, log_ratio = recipe.crop_scale, recipe.crop_log_ratio
    for t in range(TRIES):
        area = height * width * uniform(stream, 4 * t, scale[0], scale[1])
        ratio = math.exp(uniform(stream, 4 * t + 1, log_ratio[0], log_ratio[1]))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            p.top = int(uniform(stream, 4 * t + 2, 0.0, height - h + 1.0))
            p.left = int(uniform(stream, 4 * t + 3, 0.0, width - w + 1.0))
            p.height, p.width = h, w
            return
    low, high = math.exp(log_ratio[0]), math.exp(log_ratio[1])
    h, w = height, width
    if width / height < low:
        h = min(height, round(width / low))
    elif width / height > high:
        w = min(width, round(height * high))
    p.top, p.left, p.height, p.width = (height - h) // 2, (width - w) // 2, h, w


@compiled()
@no_type_check
def draw_color(recipe, stream, p):
    """Color jitter as torchvision's, and whether the image becomes gray."""
    p.jitter = uniform(stream, 101, 0.0, 1.0) < recipe.jitter
    for i in range(4):
        p.order[i] = i
    for i in range(3 if recipe.random_order > 0 else 0):  # Fisher and Yates
        j = i + int(uniform(stream, 102 + i, 0.0, 4.0 - i))
        p.order[i], p.order[j] = p.order[j], p.order[i]
    p.brightness = factor(stream, 105, recipe.brightness)
    p.contrast = factor(stream, 106, recipe.contrast)
    p.saturation = factor(stream, 107, recipe.saturation)
    p.hue = uniform(stream, 108, -recipe.hue, recipe.hue)
    p.gray = uniform(stream, 109, 0.0, 1.0) < recipe.grayscale


@njit(inline="always")
@no_type_check
def factor(stream, number, deviation):
    """A factor uniform in 1 +- a deviation, not below 0."""
    return uniform(stream, number, max(0.0, 1.0 - deviation), 1.0 + deviation)


@compiled()
@no_type_check
def draw_many(recipe, seed, epoch, samples, first, height, width, p):
    """Draw the parameters `(v n)` of views, from number `first` on, of images of one size."""
    for v in range(p.shape[0]):
        for i in range(p.shape[1]):
            draw(recipe, seed, epoch, samples[i], first + v, height, width, p[v, i])


@inline
@no_type_check
def clamp(x):
    return min(max(x, ZERO), ONE)


@inline
@no_type_check
def keys_cubic(t):
    """The cubic of a = -1/2 at a distance below 2 (Keys 1981, eq. 4), by which PIL resizes."""
    if t < 1.0:
        return (1.5 * t - 2.5) * t * t + 1.0
    return ((2.5 - 0.5 * t) * t - 4.0) * t + 2.0


@fast
@no_type_check
def taps(length, size, bicubic, first, count, weight):
    """The inputs, of `length`, that each of `size` outputs averages, by a triangle or a cubic."""
    step = length / size
    unit = max(step, 1.0)
    reach = 2.0 * unit if bicubic else unit
    for i in range(size):
        center = (i + 0.5) * step
        low = max(0, int(center - reach + 0.5))
        high = min(length, int(center + reach + 0.5))
        total = 0.0
        for j in range(low, high):
            t = abs(j - center + 0.5) / unit
            w = keys_cubic(min(t, 2.0)) if bicubic else max(0.0, 1.0 - t)
            weight[i, j - low] = w
            total += w
        for j in range(high - low):
            weight[i, j] /= total
        first[i], count[i] = low, high - low


@fast
@no_type_check
def clamp_all(planes):
    """Cut off what a cubic is beyond black and white, as PIL does."""
    for c in range(planes.shape[0]):
        for y in range(planes.shape[1]):
            for x in range(planes.shape[2]):
                planes[c, y, x] = clamp(planes[c, y, x])


@inline
@no_type_check
def most_taps(length, size, bicubic):
    """At least as many as an output has; a cubic reaches twice as far as a triangle."""
    return (int(2 * length / size) + 4) * (2 if bicubic else 1)


@fast
@no_type_check
def resize(image, top, left, height, width, flip, bicubic, planes):
    """The crop of a `(h w 3)` uint8 image as three planes `(size, size)` of floats in 0 to 1.

    Down first: a row of the crop is one piece of memory, which the processor takes many pixels at a
    time, and few rows are left to be resized across. Places are unsigned, since Numba would count
    negative ones from the end.
    """
    size = planes.shape[1]
    most = most_taps(max(height, width), size, bicubic)
    first, count = np.empty((2, size), np.int64), np.empty((2, size), np.int64)
    weight = np.empty((2, size, most), np.float32)
    taps(height, size, bicubic, first[0], count[0], weight[0])
    taps(width, size, bicubic, first[1], count[1], weight[1])
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
    if bicubic:
        clamp_all(planes)


@fast
@no_type_check
def jitter(r, g, b, p):
    """Brightness, contrast, saturation and hue of flat planes, in the sample's order."""
    for k in range(4):
        what = p.order[k]
        if what == BRIGHTNESS:
            f = np.float32(p.brightness)
            for i in range(r.size):
                r[i], g[i], b[i] = clamp(r[i] * f), clamp(g[i] * f), clamp(b[i] * f)
        elif what == CONTRAST:
            f, mean = np.float32(p.contrast), ZERO
            for i in range(r.size):
                mean += RED * r[i] + GREEN * g[i] + BLUE * b[i]
            m = mean / np.float32(r.size) * (ONE - f)
            for i in range(r.size):
                r[i], g[i], b[i] = clamp(r[i] * f + m), clamp(g[i] * f + m), clamp(b[i] * f + m)
        elif what == SATURATION:
            f = np.float32(p.saturation)
            for i in range(r.size):
                m = (RED * r[i] + GREEN * g[i] + BLUE * b[i]) * (ONE - f)
                r[i], g[i], b[i] = clamp(r[i] * f + m), clamp(g[i] * f + m), clamp(b[i] * f + m)
        elif np.float32(p.hue) != ZERO:
            turn(r, g, b, np.float32(p.hue) * np.float32(6))


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
def render(image, p, recipe, out):
    """Apply the parameters of a view.

    Args:
        image: `(h w 3)` uint8.
        p: the parameters, a record of type `VIEW`.
        recipe: `Recipe.record`; its interpolation, width of the blur, mean and std are used.
        out: `(3 size size)` float32, filled.
    """
    resize(image, p.top, p.left, p.height, p.width, p.flip, recipe.bicubic > 0, out)
    flat = out.reshape(3, -1)
    r, g, b = flat[0], flat[1], flat[2]
    if p.jitter:
        jitter(r, g, b, p)
    if p.gray:
        for i in range(r.size):
            v = RED * r[i] + GREEN * g[i] + BLUE * b[i]
            r[i], g[i], b[i] = v, v, v
    if p.sigma > 0:
        for c in range(3):
            blur(out[c], p.sigma, int(recipe.blur_kernel))
    for c in range(3):
        plane, m, s = flat[c], np.float32(recipe.mean[c]), ONE / np.float32(recipe.std[c])
        for i in range(plane.size):
            v = plane[i]
            plane[i] = ((ONE - v if p.solarize and v >= np.float32(0.5) else v) - m) * s


@fast
@no_type_check
def views(image, recipe, seed, epoch, sample, first, out, at):
    """All views of a recipe of one sample, numbered from `first`, into `out[:, at]`.

    `out` is `(v n 3 size size)`.
    """
    p = np.empty(1, VIEW)  # whose record does not keep it alive
    for v in range(out.shape[0]):
        draw(recipe, seed, epoch, sample, first + v, image.shape[0], image.shape[1], p[0])
        render(image, p[0], recipe, out[v, at])


@fast
@no_type_check
def many(pixels, samples, recipe, seed, epoch, first, out, at):
    """`views` of samples of `(n h w 3)` pixels, the first of them at `out[:, at]`."""
    for i in range(len(samples)):
        sample = samples[i]
        views(pixels[sample], recipe, seed, epoch, sample, first, out, at + i)


@fast
@no_type_check
def round_views(views, out, at):
    """Round the views of one sample to bytes.

    Args:
        views: `(v 1 c h w)` float32 in 0 to 1.
        out: `(v n c h w)` uint8, of which `[:, at]` is filled.
        at: place of the sample.
    """
    for v in range(views.shape[0]):
        values, to = views[v, 0].reshape(-1), out[v, at].reshape(-1)
        for i in range(values.size):
            to[i] = np.uint8(values[i] * np.float32(255) + np.float32(0.5))


@inline
@no_type_check
def plain_side(height, width, central, size):
    shorter = min(height, width)
    return max(max(1, round(shorter * central)), min(shorter, size))


@fast
@no_type_check
def plain(image, central, recipe, out):
    """The central square of `central` times the shorter side, resized and normalized.

    Where that is smaller than the result, the square is as large as the result, or as the image: no
    pixel is cut off only to enlarge the others.
    """
    height, width = image.shape[0], image.shape[1]
    side = plain_side(height, width, central, out.shape[1])
    resize(image, (height - side) // 2, (width - side) // 2, side, side, False, False, out)
    for c in range(3):
        m, s = np.float32(recipe.mean[c]), ONE / np.float32(recipe.std[c])
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[c, y, x] = (out[c, y, x] - m) * s


@fast
@no_type_check
def resize_bands(image, top, left, height, width, flip, bicubic, planes):
    """`resize` of a `(h w c)` image of any number of channels."""
    bands, size = planes.shape[0], planes.shape[1]
    most = most_taps(max(height, width), size, bicubic)
    first, count = np.empty((2, size), np.int64), np.empty((2, size), np.int64)
    weight = np.empty((2, size, most), np.float32)
    taps(height, size, bicubic, first[0], count[0], weight[0])
    taps(width, size, bicubic, first[1], count[1], weight[1])
    row = np.empty((width, bands), np.float32)
    for y in range(size):
        row[:] = ZERO
        for k in range(count[0, y]):
            w = weight[0, y, k] * np.float32(1 / 255)
            for i in range(width):
                for c in range(bands):
                    row[i, c] += w * image[top + first[0, y] + k, left + i, c]
        for x in range(size):
            to = size - 1 - x if flip else x
            for c in range(bands):
                total = ZERO
                for k in range(count[1, x]):
                    total += weight[1, x, k] * row[first[1, x] + k, c]
                planes[c, y, to] = total
    if bicubic:
        clamp_all(planes)


@fast
@no_type_check
def render_bands(image, p, recipe, out):
    """`render` of an image of any number of channels: crop, flip and blur."""
    resize_bands(image, p.top, p.left, p.height, p.width, p.flip, recipe.bicubic > 0, out)
    for c in range(out.shape[0]):
        if p.sigma > 0:
            blur(out[c], p.sigma, int(recipe.blur_kernel))
        out[c] = (out[c] - np.float32(recipe.mean[c])) / np.float32(recipe.std[c])


@fast
@no_type_check
def views_bands(image, recipe, seed, epoch, sample, first, out, at):
    """`views` of an image of any number of channels, in which no color is changed."""
    p = np.empty(1, VIEW)
    for v in range(out.shape[0]):
        draw(recipe, seed, epoch, sample, first + v, image.shape[0], image.shape[1], p[0])
        render_bands(image, p[0], recipe, out[v, at])


@fast
@no_type_check
def many_bands(pixels, samples, recipe, seed, epoch, first, out, at):
    """`many` of images of any number of channels."""
    for i in range(len(samples)):
        sample = samples[i]
        views_bands(pixels[sample], recipe, seed, epoch, sample, first, out, at + i)


@fast
@no_type_check
def plain_bands(image, central, recipe, out):
    """`plain` of an image of any number of channels."""
    height, width = image.shape[0], image.shape[1]
    side = plain_side(height, width, central, out.shape[1])
    resize_bands(image, (height - side) // 2, (width - side) // 2, side, side, False, False, out)
    for c in range(out.shape[0]):
        out[c] = (out[c] - np.float32(recipe.mean[c])) / np.float32(recipe.std[c])


class Kernels(NamedTuple):
    """What makes views of one image, views of images in memory, and a plain image."""

    views: Callable[..., None]
    many: Callable[..., None]
    plain: Callable[..., None]


def kernels(channels: int) -> Kernels:
    """The kernels for images of so many channels; RGB has its own."""
    return Kernels(views, many, plain) if channels == 3 else BANDS


BANDS = Kernels(views_bands, many_bands, plain_bands)
