r"""Triton kernels for CUDA: unit vectors, and softmax losses none of whose pairs are in memory.

A program computes the similarities of some anchors with one tile of candidates after another, as
FlashAttention does (Dao 2023, https://arxiv.org/abs/2307.08691), and keeps sums alone. Which pairs
count follows from index and class. Products of float32 are three of TF32, which together round as
float32 does (Ootomo and Yokota 2022, https://arxiv.org/abs/2203.03341).

Sizes of tiles are those that were fastest on an H200 with 128 dimensions.
"""
# pyright: basic, reportOptionalMemberAccess=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

Place = tuple[range, range]  # views and samples
VIEWS = {"all": 0, "same": 1, "other": 2}  # of a denominator
PRECISION = tl.constexpr("tf32x3")
SMALL = 8192  # anchors up to which small tiles keep a card busy
# Tiles, warps and stages, and bytes of shared memory at 128 dimensions on the card that takes most;
# of those that fit the first is the fastest.
SMALLEST = 32, 32, 4, 2, 65_536
FORWARD = (64, 32, 4, 2, 114_688), SMALLEST
BACKWARD = (128, 64, 8, 2, 229_888), (64, 32, 4, 2, 114_944), SMALLEST
BACKWARD_OF_FEW = (SMALLEST,)
TF32 = (8, 0)  # the compute capability from which on there is TF32
# Arguments whose values change from batch to batch: nothing is compiled anew for them.
SIZES = ["A", "C", "view_a", "samples_a", "sample_a", "view_c", "samples_c", "sample_c"]
COMPILER = {"enable_fp_fusion": True}  # Triton's default changes with 3.10
ELEMENTS = 4096  # of the vectors that a program normalizes


@triton.jit(do_not_specialize=["R"])
@no_type_check
def unit_rows(z, u, lengths, R, D: tl.constexpr, WIDTH: tl.constexpr, BM: tl.constexpr):
    """Vectors divided by their lengths, summed in float64; zeros count as infinitely long."""
    at, of = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, WIDTH)
    there = (at < R)[:, None] & (of < D)
    place = at.to(tl.int64)[:, None] * D + of
    x = tl.load(z + place, mask=there, other=0.0).to(tl.float64)
    length = tl.sqrt(tl.sum(x * x, 1))
    length = tl.where(length == 0.0, float("inf"), length)
    tl.store(u + place, (x / length[:, None]).to(tl.float32), mask=there)
    tl.store(lengths + at, length.to(tl.float32), mask=at < R)


@triton.jit(do_not_specialize=["R"])
@no_type_check
def pull_rows(g, u, lengths, dz, R, D: tl.constexpr, WIDTH: tl.constexpr, BM: tl.constexpr):
    """The gradient of vectors by that of their directions."""
    at, of = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, WIDTH)
    there = (at < R)[:, None] & (of < D)
    place = at.to(tl.int64)[:, None] * D + of
    slope = tl.load(g + place, mask=there, other=0.0)
    x = tl.load(u + place, mask=there, other=0.0)
    along = tl.sum(slope * x, 1)[:, None]
    length = tl.load(lengths + at, mask=at < R, other=1.0)[:, None]
    tl.store(dz + place, (slope - x * along) / length, mask=there)


def on_its_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Launch kernels where the first tensor is, which may be another card than the current one."""

    @wraps(function)
    def launched(x: Tensor, *rest: Any) -> Any:
        with torch.cuda.device(x.get_device()):
            return function(x, *rest)

    return launched


def of_vectors(z: Tensor) -> tuple[tuple[int], dict[str, int]]:
    """The programs of vectors, and what the kernels are compiled for."""
    rows, width = z.numel() // z.shape[-1], triton.next_power_of_2(z.shape[-1])
    block = max(1, ELEMENTS // width)
    how = {"R": rows, "D": z.shape[-1], "WIDTH": width, "BM": block}
    return (triton.cdiv(rows, block),), how | COMPILER


@on_its_device
def unit_vectors(z: Tensor) -> tuple[Tensor, Tensor]:
    """`cl.precision.Unit` of float32: directions and lengths."""
    z = z.contiguous()
    u, lengths = torch.empty_like(z), z.new_empty(*z.shape[:-1], 1)
    grid, how = of_vectors(z)
    unit_rows[grid](z, u, lengths, **how)
    return u, lengths


@on_its_device
def unit_gradient(g: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
    """`cl.precision.Unit.pull` of float32."""
    g, u = g.contiguous(), u.contiguous()
    dz = torch.empty_like(u)
    grid, how = of_vectors(u)
    pull_rows[grid](g, u, lengths, dz, **how)
    return dz


@triton.jit
@no_type_check
def place(index, first_view, samples, first_sample, classes, UNIQUE: tl.constexpr, inside):
    """View, sample and class of embeddings that are stored view by view."""
    view = first_view + index // samples
    sample = first_sample + index % samples
    kind = sample
    if not UNIQUE:
        kind = tl.load(classes + sample, mask=inside, other=0)
    return view, sample, kind


@triton.jit
@no_type_check
def masks(
    view_a, sample_a, kind_a, view_c, sample_c, kind_c, inside, WHICH: tl.constexpr,
    POSITIVES: tl.constexpr,
):  # fmt: skip
    """Which pairs are in the denominator, and which are positives."""
    same_view = view_a[:, None] == view_c[None, :]
    same_class = kind_a[:, None] == kind_c[None, :]
    itself = same_view & (sample_a[:, None] == sample_c[None, :])
    positive = same_class & (itself == 0) & inside
    if POSITIVES:
        chosen = (itself == 0) & inside
    else:
        chosen = (same_class == 0) & inside
    if WHICH == 1:
        chosen = chosen & same_view
    if WHICH == 2:
        chosen = chosen & (same_view == 0)
        positive = positive & (same_view == 0)
    return chosen, positive


@triton.jit
@no_type_check
def vectors(x, at, there, of, D: tl.constexpr):
    """Some rows of embeddings, padded with zeros to the width of a tile."""
    return tl.load(x + at[:, None] * D + of, mask=there[:, None] & (of < D), other=0.0)


@triton.jit
@no_type_check
def compare_tile(
    anchors, view_a, sample_a, kind_a, candidates, c, here, classes, first_view, samples,
    first_sample, UNIQUE: tl.constexpr, WHICH: tl.constexpr, POSITIVES: tl.constexpr,
):  # fmt: skip
    """The similarities of a tile, and its masks."""
    view_c, sample_c, kind_c = place(c, first_view, samples, first_sample, classes, UNIQUE, here)
    s = tl.dot(anchors, tl.trans(candidates), input_precision=PRECISION)
    chosen, positive = masks(
        view_a, sample_a, kind_a, view_c, sample_c, kind_c, here[None, :], WHICH, POSITIVES
    )
    return s, chosen, positive


@triton.jit
@no_type_check
def is_needed(
    a, c, A, C, view_a, samples_a, sample_a, view_c, samples_c, sample_c, BM: tl.constexpr,
    BN: tl.constexpr, UNIQUE: tl.constexpr, WHICH: tl.constexpr,
):  # fmt: skip
    """Whether any pair of a tile counts; those that the views exclude are not computed."""
    needed = True
    if UNIQUE and WHICH != 0:
        last_a, last_c = tl.minimum(a + BM, A) - 1, tl.minimum(c + BN, C) - 1
        one_view = (a // samples_a == last_a // samples_a) & (c // samples_c == last_c // samples_c)
        same = view_a + a // samples_a == view_c + c // samples_c
        first, last = sample_a + a % samples_a, sample_a + last_a % samples_a
        start, stop = sample_c + c % samples_c, sample_c + last_c % samples_c
        apart = (last < start) | (stop < first)
        if WHICH == 1:
            needed = (one_view == 0) | same | (apart == 0)
        else:
            needed = (one_view == 0) | (same == 0)
    return needed


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def row_sums(
    q, k, scale, classes, losses, logs, shares, singles, weight, A, C, view_a, samples_a, sample_a,
    view_c, samples_c, sample_c, D: tl.constexpr, WIDTH: tl.constexpr, UNIQUE: tl.constexpr,
    WHICH: tl.constexpr, POSITIVES: tl.constexpr, LEARNED: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """Each anchor's loss and what its gradient needs, over all of its candidates."""
    first = tl.program_id(0) * BM
    a, of = first + tl.arange(0, BM), tl.arange(0, WIDTH)
    there = a < A
    anchors = vectors(q, a, there, of, D) * (tl.load(scale) if LEARNED else scale)
    va, sa, ka = place(a, view_a, samples_a, sample_a, classes, UNIQUE, there)
    row_max = tl.full((BM,), float("-inf"), tl.float32)
    rest, own = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    positives, number = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    inside = tl.zeros((BM,), tl.float32)  # positives that are in the denominator
    for start in range(0, C, BN):
        needed = is_needed(
            first, start, A, C, view_a, samples_a, sample_a, view_c, samples_c, sample_c,
            BM, BN, UNIQUE, WHICH,
        )  # fmt: skip
        if needed:
            c = start + tl.arange(0, BN)
            here = c < C
            candidates = vectors(k, c, here, of, D)
            s, chosen, positive = compare_tile(
                anchors, va, sa, ka, candidates, c, here, classes, view_c, samples_c, sample_c,
                UNIQUE, WHICH, POSITIVES,
            )  # fmt: skip
            positives += tl.sum(tl.where(positive, s, 0.0), 1)
            number += tl.sum(positive.to(tl.float32), 1)
            x = tl.where(chosen, s, float("-inf"))
            new_max = tl.maximum(row_max, tl.max(x, 1))
            finite = tl.where(new_max == float("-inf"), 0.0, new_max)
            x = tl.exp(x - finite[:, None])
            before = tl.exp(row_max - finite)
            row_max = new_max
            if POSITIVES:
                mine = chosen & positive
                own = own * before + tl.sum(tl.where(mine, x, 0.0), 1)
                inside += tl.sum(mine.to(tl.float32), 1)
                x = tl.where(mine, 0.0, x)
            rest = rest * before + tl.sum(x, 1)
    finite = tl.where(row_max == float("-inf"), 0.0, row_max)
    mean = positives / tl.maximum(number, 1.0)
    total = rest + own
    empty = total == 0.0
    log = finite + tl.log(tl.where(empty, 1.0, total))
    loss = tl.where(empty, 0.0, weight * log) - mean
    share = 1.0 / tl.maximum(number, 1.0)
    single = (number == 1.0) & (inside == 1.0)
    if POSITIVES:  # the loss of one positive is log(1 + e^r), which is exact near zero, too
        nothing = rest == 0.0
        r = finite + tl.log(tl.where(nothing, 1.0, rest)) - mean
        e = tl.where(nothing, 0.0, tl.exp(-tl.abs(r)))
        series = e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - e * 0.25)))
        log1p = tl.where(e < 0.01, series, tl.log(1.0 + e))
        loss = tl.where(single, tl.where(nothing, 0.0, tl.maximum(r, 0.0)) + log1p, loss)
        share = tl.where(single, rest / tl.where(empty, 1.0, total), share)
    alone = number == 0.0
    tl.store(losses + a, tl.where(alone, 0.0, loss), mask=there)
    tl.store(logs + a, tl.where(alone | empty, float("inf"), log), mask=there)
    tl.store(shares + a, tl.where(alone, 0.0, share), mask=there)
    tl.store(singles + a, single.to(tl.int8), mask=there)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def slopes(
    q, k, scale, classes, gradient, logs, shares, singles, weight, A, C, view_a, samples_a,
    sample_a, view_c, samples_c, sample_c, D: tl.constexpr, WIDTH: tl.constexpr,
    UNIQUE: tl.constexpr, WHICH: tl.constexpr, POSITIVES: tl.constexpr, LEARNED: tl.constexpr,
    OF_ROWS: tl.constexpr, OF_COLUMNS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The gradient of some embeddings, as anchors (rows), candidates of others (columns) or both.

    Where anchors and candidates are the same, a similarity is in the row of either of its pair.
    """
    first = tl.program_id(0) * BM
    a, of = first + tl.arange(0, BM), tl.arange(0, WIDTH)
    there = a < A
    anchors = vectors(q, a, there, of, D) * (tl.load(scale) if LEARNED else scale)
    va, sa, ka = place(a, view_a, samples_a, sample_a, classes, UNIQUE, there)
    if OF_ROWS:
        log_a = tl.load(logs + a, mask=there, other=float("inf"))[:, None]
        share_a = tl.load(shares + a, mask=there, other=0.0)[:, None]
        single_a = tl.load(singles + a, mask=there, other=0)[:, None] != 0
    found = tl.zeros((BM, WIDTH), tl.float32)
    for start in range(0, C, BN):
        needed = is_needed(
            first, start, A, C, view_a, samples_a, sample_a, view_c, samples_c, sample_c,
            BM, BN, UNIQUE, WHICH,
        )  # fmt: skip
        if needed:
            c = start + tl.arange(0, BN)
            here = c < C
            candidates = vectors(k, c, here, of, D)
            s, chosen, positive = compare_tile(
                anchors, va, sa, ka, candidates, c, here, classes, view_c, samples_c, sample_c,
                UNIQUE, WHICH, POSITIVES,
            )  # fmt: skip
            p = tl.zeros((BM, BN), tl.float32)
            if OF_ROWS:
                kept = chosen & ((positive & single_a) == 0)
                p += tl.where(kept, weight * tl.exp(tl.where(kept, s, 0.0) - log_a), 0.0)
                p -= tl.where(positive, share_a, 0.0)
            if OF_COLUMNS:
                log_c = tl.load(logs + c, mask=here, other=float("inf"))[None, :]
                share_c = tl.load(shares + c, mask=here, other=0.0)[None, :]
                single_c = tl.load(singles + c, mask=here, other=0)[None, :] != 0
                kept = chosen & ((positive & single_c) == 0)
                p += tl.where(kept, weight * tl.exp(tl.where(kept, s, 0.0) - log_c), 0.0)
                p -= tl.where(positive, share_c, 0.0)
            found = tl.dot(p, candidates, found, input_precision=PRECISION)
    tl.store(gradient + a[:, None] * D + of, found, mask=there[:, None] & (of < D))


@cache
def tile(tiles: tuple[tuple[int, ...], ...], width: int, device: int) -> dict[str, int] | None:
    """The fastest tile that a card has the memory for; None: it has not even that of a smaller."""
    card = torch.cuda.get_device_properties(device)
    if (card.major, card.minor) < TF32 or torch.version.hip:
        return None
    for rows, columns, warps, stages, needed in tiles:
        if needed * max(width, 16) / 128 <= card.shared_memory_per_block_optin:
            return {"BM": rows, "BN": columns, "num_warps": warps, "num_stages": stages}
    return None


def take_pairs(z: Tensor) -> bool:
    """Whether there is a tile for such embeddings on their card."""
    width = triton.next_power_of_2(z.shape[-1])
    return all(tile(tiles, width, z.get_device()) for tiles in (FORWARD, BACKWARD_OF_FEW))


def compiled_for(x: Tensor, tiles: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """The dimensions of embeddings, those of a tile, and the tile."""
    width = triton.next_power_of_2(x.shape[1])
    found = tile(tiles, width, x.get_device()) if x.is_cuda else {"BM": 16, "BN": 16}
    assert found, "`take_pairs` says so before"
    return {"D": x.shape[1], "WIDTH": max(16, width), **found, **COMPILER}


def of_pairs(classes: Tensor | None, scale: Any, views: str, positives: bool) -> dict[str, Any]:
    """What both kernels are compiled for."""
    return {
        "UNIQUE": classes is None,
        "WHICH": VIEWS[views],
        "POSITIVES": positives,
        "LEARNED": isinstance(scale, Tensor),
    }


@on_its_device
def log_sums(
    q: Tensor,
    k: Tensor,
    scale: Tensor | float,
    classes: Tensor | None,
    weight: float,
    places: tuple[Place, Place],
    views: str,
    positives: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each anchor's loss, and for its gradient: log-sum-exp, share of a positive, is it single.

    Args:
        q: anchors of unit length, view by view.
        k: candidates of unit length, view by view.
        scale: the inverse temperature.
        classes: of each sample; None: it is one of its own.
        weight: of the log-sum-exp.
        places: views and samples of the anchors and of the candidates.
        views: those of the denominator.
        positives: whether it has positives.
    """
    losses, logs, shares = (q.new_empty(len(q)) for _ in range(3))
    singles = torch.empty(len(q), dtype=torch.int8, device=q.device)
    how = of_pairs(classes, scale, views, positives) | compiled_for(q, FORWARD)
    known = scale, q if classes is None else classes, losses, logs, shares, singles, float(weight)
    grid = (triton.cdiv(len(q), how["BM"]),)
    row_sums[grid](q, k, *known, len(q), len(k), *offsets(*places), **how)
    return losses, logs, shares, singles


@on_its_device
def pair_gradients(
    q: Tensor,
    k: Tensor,
    scale: Tensor | float,
    classes: Tensor | None,
    weight: float,
    places: tuple[Place, Place],
    views: str,
    positives: bool,
    found: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor | None]:
    """The gradients of anchors and candidates, of the sum of losses over the scale.

    Where they are the same embeddings there is one gradient, that of both.

    Args:
        q: see `log_sums`, like the others.
        k: see there.
        scale: see there.
        classes: see there.
        weight: see there.
        places: see there.
        views: see there.
        positives: see there.
        found: what `log_sums` found for this.
    """
    tiles = BACKWARD_OF_FEW if len(q) <= SMALL else BACKWARD
    how = of_pairs(classes, scale, views, positives) | compiled_for(q, tiles)
    known = scale, q if classes is None else classes

    def slope(x: Tensor, y: Tensor, at: tuple[int, ...], rows: bool, columns: bool) -> Tensor:
        dx, grid = torch.empty_like(x), (triton.cdiv(len(x), how["BM"]),)
        sides = {"OF_ROWS": rows, "OF_COLUMNS": columns}
        given = *known, dx, *found, float(weight), len(x), len(y), *at
        slopes[grid](x, y, *given, **how, **sides)
        return dx

    anchors, candidates = places
    if anchors == candidates:
        return slope(q, k, offsets(anchors, candidates), True, True), None
    dq = slope(q, k, offsets(anchors, candidates), True, False)
    return dq, slope(k, q, offsets(candidates, anchors), False, True)


def offsets(*places: Place) -> tuple[int, ...]:
    """First view, number of samples and first sample of anchors and of candidates."""
    return tuple(x for views, of in places for x in (views.start, len(of), of.start))
