r"""A softmax loss of a few embeddings, compiled for the CPU but for its matrix products.

Of so few, most of the time is what torch takes for each operation on rows and pairs. Here they are
plain loops in three functions. Exponentials are of differences to a row's largest similarity; sums
over pairs, and lengths, are in float64, so that neither long vectors nor low temperatures need a
way of their own.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.jit import FAST, compiled
from cl.losses._direct import scaled_products
from cl.losses._function import WholeLoss
from cl.losses._pairs import Denominator, EmbeddingBlock, Pairs, take
from cl.losses._whole import Places, put_back

SUMMED, POSITIVE = 1, 2  # what a pair is: in the denominator, a positive, both or neither
LINEAR = 50.0  # as in `_whole`: Numba keeps what it has compiled until this file changes

fast = compiled(fastmath=FAST, error_model="numpy")  # a division by zero is infinite


@dataclass(frozen=True)
class PairProduct:
    """The matrix product that has all pairs of a batch of some shape.

    Args:
        places: of the anchors and of the candidates of the product.
        alone: whether these are the same.
        halves: whether these are all samples of the first of two views, and of the second.
        mutual: whether the columns of the product have anchors, too.
        samples: the number of each sample.
        apart: what each pair is if its samples have different ids.
        alike: what it is if they have equal ones.
    """

    places: Places
    alone: bool
    halves: bool
    mutual: bool
    samples: np.ndarray
    apart: np.ndarray
    alike: np.ndarray


@lru_cache(64)  # the same of every step
def find_product(places: Places, denominator: Denominator, views: int) -> PairProduct:
    """The product that has all pairs, and what they are.

    Args:
        places: views and samples of the anchors and of the candidates.
        denominator: which pairs it has.
        views: how many views there are.
    """
    (of_anchors, rows), (_, samples) = places
    mutual = places[0] == places[1] and denominator.views == "other" and len(of_anchors) == 2
    if mutual:
        first = of_anchors.start
        places = (range(first, first + 1), rows), (range(first + 1, first + 2), samples)
    alone = places[0] == places[1]
    halves = views == 2 and places == ((range(1), samples), (range(1, 2), samples))
    numbers = torch.arange(len(samples))
    kinds = []
    for classes, unique in ((numbers, True), (torch.zeros_like(numbers), False)):
        anchors, candidates = (EmbeddingBlock(slice(0, 0), *of, classes, unique) for of in places)
        pairs = Pairs(anchors, anchors if alone else candidates)
        summed, positive = denominator(pairs).tensor(numbers), denominator.positive(pairs)
        kind = summed * SUMMED + positive.tensor(numbers) * POSITIVE
        shape = [len(of) * len(numbered) for of, numbered in places]
        kinds.append(kind.to(torch.int8).expand(shape).contiguous().numpy())
    return PairProduct(places, alone, halves, mutual, numbers.numpy(), *kinds)


class CompiledLoss(WholeLoss):
    """The mean over anchors of a log-sum-exp minus the mean similarity to positives."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor | float,
        ids: Tensor | None,
        product: PairProduct,
        angles: tuple[float, float],
        keep: bool,
    ) -> tuple[Tensor, ...]:
        z = z.contiguous()
        u, lengths = torch.empty_like(z), np.empty(z.shape[:2])
        directions = u.numpy()
        normalize(z.numpy(), directions, lengths)
        if product.halves:
            q, k = u.unbind()
        else:
            q = take(u, product.places[0]).flatten(0, 1)
            k = q if product.alone else take(u, product.places[1]).flatten(0, 1)
        p, rows = scaled_products(q, k, scale), product.places[0][1]
        value, dscale = differentiate(
            p.numpy(),
            q.numpy(),
            k.numpy(),
            product.samples if ids is None else ids.numpy(),
            (rows.start, rows.stop),
            (product.apart, product.alike),
            (float(scale), *angles),
            (product.alone, product.mutual),
        )
        value = torch.full((), value)
        if not keep:
            return (value,)
        if product.halves:
            dz = torch.empty_like(u)
            torch.mm(p, k, out=dz[0])
            torch.mm(p.mT, q, out=dz[1])
        else:
            dz = put_back(p @ k, None if product.alone else p.mT @ q, product.places, u)
        pull(dz.numpy(), directions, lengths)
        return (value, dz, torch.full((), dscale)) if isinstance(scale, Tensor) else (value, dz)


def compiled_loss(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    scale: float | Float[Tensor, ""],
    places: Places,
    denominator: Denominator,
    margin: float,
) -> Float[Tensor, ""]:
    """The loss of `whole_loss` by compiled loops, where `is_compiled`.

    Args:
        z: float32 embeddings of any length on a CPU.
        ids: samples with equal ids are positives; None: each sample is its own class.
        scale: the inverse temperature.
        places: views and samples of the anchors and of the candidates.
        denominator: which pairs it has.
        margin: the angle that is added to that of a single positive, in radians.
    """
    product = find_product(places, denominator, len(z))
    ids = None if ids is None else ids.long().contiguous()
    angles = math.cos(margin), math.sin(margin)
    return CompiledLoss.of(z, scale, ids, product, angles)


@fast
@no_type_check
def normalize(z, u, lengths):
    """Fill u with the vectors of z, of length 1 or 0, and fill in their lengths."""
    for v in range(z.shape[0]):
        for i in range(z.shape[1]):
            squares = 0.0
            for d in range(z.shape[2]):
                squares += np.float64(z[v, i, d]) * np.float64(z[v, i, d])
            length = math.sqrt(squares)
            lengths[v, i] = length
            factor = 0.0 if length == 0 else 1 / length
            for d in range(z.shape[2]):
                u[v, i, d] = z[v, i, d] * factor


@fast
@no_type_check
def pull(g, u, lengths):
    """Turn gradients by the vectors of u into those by vectors of these lengths; 0 of length 0."""
    for v in range(g.shape[0]):
        for i in range(g.shape[1]):
            along = np.float32(0)
            for d in range(g.shape[2]):
                along += g[v, i, d] * u[v, i, d]
            factor = 0.0 if lengths[v, i] == 0 else 1 / lengths[v, i]
            for d in range(g.shape[2]):
                g[v, i, d] = (g[v, i, d] - along * u[v, i, d]) * factor


@fast
@no_type_check
def find_kinds(own, ids, apart, alike, kinds):
    """What an anchor's pairs are, how many positives it has, and which one is the last."""
    positives, last = 0, 0
    for first in range(0, len(kinds), len(ids)):  # of each view
        for i in range(len(ids)):
            kind = alike[first + i] if ids[i] == own else apart[first + i]
            kinds[first + i] = kind
            if kind & POSITIVE:
                positives, last = positives + 1, first + i
    return positives, last


@fast
@no_type_check
def mean_positive(x, kinds, positives):
    """The mean similarity to the positives."""
    total = 0.0
    for j in range(len(x)):
        if kinds[j] & POSITIVE:
            total += x[j]
    return total / positives


@fast
@no_type_check
def add_margin(similarity, q, k, scale, cos_margin, sin_margin):
    """The similarity of q and k at a larger angle, and its derivative by the similarity."""
    difference, double = 0.0, 0.0
    for d in range(len(q)):
        difference += (np.float64(q[d]) - k[d]) ** 2
        double += (np.float64(q[d]) + k[d]) ** 2
    cos, sin = similarity / scale, math.sqrt(difference) * math.sqrt(double) / 2
    slope = cos_margin + (sin_margin * cos / sin if sin > 0 else 0.0)
    return (cos * cos_margin - sin * sin_margin) * scale, slope


@fast
@no_type_check
def soften(x, kinds, shares):
    """The softmax of what is summed; the log-sum-exp, or -inf, and the mean by the softmax."""
    most = np.float32(-np.inf)
    for j in range(len(x)):
        if kinds[j] & SUMMED:
            most = max(most, x[j])
    total, mean = 0.0, 0.0
    for j in range(len(x)):
        shares[j] = 0
        if kinds[j] & SUMMED:
            shares[j] = math.exp(x[j] - most)
            total += shares[j]
            mean += shares[j] * np.float64(x[j])
    if total == 0:
        return -np.inf, 0.0
    factor = 1 / total
    for j in range(len(x)):
        shares[j] *= factor
    return math.log(total) + most, mean * factor


@fast
@no_type_check
def add_rows(x, p, q, k, of_anchors, of_candidates, apart, alike, numbers):
    """Add to p the gradients of the rows' losses by similarities; the sum of the losses.

    A positive that is alone is left out of its sum, so that the loss is accurate near zero.

    Returns:
        The sum, and its derivative by the logarithm of the scale.
    """
    scale, cos_margin, sin_margin = numbers
    kinds, shares = np.empty(x.shape[1], np.int8), np.empty(x.shape[1], np.float32)
    total, of_scale = 0.0, 0.0
    for i in range(len(x)):
        own = of_anchors[i % len(of_anchors)]
        positives, last = find_kinds(own, of_candidates, apart[i], alike[i], kinds)
        if positives == 0:
            continue
        positive, slope = mean_positive(x[i], kinds, positives), 1.0
        if sin_margin != 0:
            positive, slope = add_margin(positive, q[i], k[last], scale, cos_margin, sin_margin)
        single = positives == 1 and kinds[last] & SUMMED
        if single:
            kinds[last] = POSITIVE
        log_sum, mean = soften(x[i], kinds, shares)
        if log_sum == -np.inf and not single:
            log_sum = 0.0
        loss, g = log_sum - positive, 1.0
        if single:
            g = 1 / (1 + math.exp(-loss))
            loss = loss if loss > LINEAR else math.log1p(math.exp(loss))
        total += loss
        of_scale += g * (mean - positive)
        of_sum, of_positive = np.float32(g), np.float32(g * slope / positives)
        for j in range(x.shape[1]):
            p[i, j] += of_sum * shares[j]
            if kinds[j] & POSITIVE:
                p[i, j] -= of_positive
    return total, of_scale


@fast
@no_type_check
def differentiate(x, q, k, ids, rows, kinds, numbers, flags):
    """The mean of the losses, and its gradients by similarities, times the scale, in place of them.

    Args:
        x: similarities of anchors and candidates.
        q: anchors of unit length.
        k: candidates.
        ids: of all samples.
        rows: the first of the anchors' samples, and the one after the last.
        kinds: what each pair is if its ids differ, and if they are equal.
        numbers: the scale, cosine and sine of the margin.
        flags: whether the anchors are the candidates, and whether columns have anchors, too.

    Returns:
        The mean, and its derivative by the scale.
    """
    (apart, alike), (alone, mutual) = kinds, flags
    own, p = ids[rows[0] : rows[1]], np.zeros_like(x)
    total, of_scale = add_rows(x, p, q, k, own, ids, apart, alike, numbers)
    count = len(x)
    if mutual:
        more, beyond = add_rows(x.T, p.T, k, q, ids, own, apart.T, alike.T, numbers)
        total, of_scale, count = total + more, of_scale + beyond, count + x.shape[1]
    scale = numbers[0]
    factor = np.float32(scale / count)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = (p[i, j] + (p[j, i] if alone else np.float32(0))) * factor
    return total / count, of_scale / count / scale
