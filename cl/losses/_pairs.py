"""Pairs of embeddings, one block at a time, and boolean masks over them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

Rows = slice  # the samples that are this process's anchors
ALL: Rows = slice(None)
MIN_SPLIT = 256  # this many embeddings or fewer form a single block, whatever their views


@dataclass(frozen=True)
class EmbeddingBlock:
    """Consecutive anchors or candidates, stored view by view, and the labels that masks compare.

    Args:
        positions: where they are among all anchors or all candidates.
        views: the views they are from.
        samples: the samples they are from.
        classes: the class of every sample, not only of those in the block.
        unique: whether every sample is a class of its own.
    """

    positions: slice
    views: range
    samples: range
    classes: Int[Tensor, " n"]
    unique: bool

    @property
    def place(self) -> tuple[slice, range, range]:
        """What makes it another block than others of the same embeddings."""
        return self.positions, self.views, self.samples

    @cached_property
    def sample(self) -> Int[Tensor, " m"]:
        """The sample of each embedding."""
        samples = torch.arange(self.samples.start, self.samples.stop, device=self.classes.device)
        return samples.repeat(len(self.views))

    @cached_property
    def view(self) -> Int[Tensor, " m"]:
        """The view of each embedding."""
        views = torch.arange(self.views.start, self.views.stop, device=self.classes.device)
        return views.repeat_interleave(len(self.samples))

    @cached_property
    def id(self) -> Int[Tensor, " m"]:
        """The class of each embedding."""
        return self.classes[self.samples.start : self.samples.stop].repeat(len(self.views))


@dataclass(frozen=True)
class PairMask:
    """Boolean mask over a block of pairs; a constant mask stays a Python bool, which costs nothing.

    Masks are combined with `~`, `&` and `|`.
    """

    value: bool | Bool[Tensor, "a c"]

    def __invert__(self) -> "PairMask":
        return PairMask(not self.value if isinstance(self.value, bool) else ~self.value)

    def __and__(self, other: "PairMask") -> "PairMask":
        left, right = self.value, other.value
        if isinstance(left, bool):
            return other if left else self
        if isinstance(right, bool):
            return self if right else other
        return PairMask(left & right)

    def __or__(self, other: "PairMask") -> "PairMask":
        return ~(~self & ~other)

    def tensor(self, like: Tensor) -> Bool[Tensor, "..."]:
        """The mask as a tensor on the device of `like`; a constant one has no axes."""
        if isinstance(self.value, bool):
            return torch.full((), self.value, device=like.device)
        return self.value


@dataclass(frozen=True)
class Pairs:
    """Every anchor of one block with every candidate of another; masks are computed on demand."""

    anchors: EmbeddingBlock
    candidates: EmbeddingBlock

    @property
    def all(self) -> PairMask:
        """Every pair."""
        return PairMask(True)

    @cached_property
    def same_embedding(self) -> PairMask:
        """Anchor and candidate are one embedding: same sample, same view."""
        if self.anchors is self.candidates:
            size = len(self.anchors.views) * len(self.anchors.samples)
            return PairMask(torch.eye(size, dtype=torch.bool, device=self.anchors.classes.device))
        return self.same_sample & self.same_view

    @cached_property
    def same_view(self) -> PairMask:
        """Anchor and candidate come from the same view (for CLIP, the same tower)."""
        if disjoint(self.anchors.views, self.candidates.views):
            return PairMask(False)
        if len(self.anchors.views) == len(self.candidates.views) == 1:
            return PairMask(True)
        return PairMask(rearrange(self.anchors.view, "a -> a 1") == self.candidates.view)

    @cached_property
    def same_sample(self) -> PairMask:
        """Anchor and candidate are views of the same sample."""
        if disjoint(self.anchors.samples, self.candidates.samples):
            return PairMask(False)
        return PairMask(rearrange(self.anchors.sample, "a -> a 1") == self.candidates.sample)

    @cached_property
    def same_id(self) -> PairMask:
        """Anchor and candidate have the same id: the same sample, or with ids the same class."""
        if self.anchors.unique:
            return self.same_sample
        return PairMask(rearrange(self.anchors.id, "a -> a 1") == self.candidates.id)


def disjoint(one: range, other: range) -> bool:
    """Whether two ranges have no number in common."""
    return one.stop <= other.start or other.stop <= one.start


def take(z: Float[Tensor, "v n d"], block: tuple[range, range]) -> Float[Tensor, "w r d"]:
    """The embeddings of a range of views and a range of samples."""
    views, samples = block
    if len(samples) == z.shape[1]:
        return z if len(views) == len(z) else z[views.start : views.stop]
    return z[views.start : views.stop, samples.start : samples.stop]


SelectPairs = Callable[[Pairs], PairMask]


@dataclass(frozen=True)
class Denominator:
    """The mask of a softmax loss's denominator, named so that small batches need no mask.

    Args:
        views: the candidates' views: all, only the anchor's (same) or only the others.
        positives: whether the positives are in it; the anchor itself never is.
    """

    views: Literal["all", "same", "other"]
    positives: bool

    def __call__(self, pairs: Pairs) -> PairMask:
        """The mask of a block of pairs."""
        if self.positives and self.views == "other":
            return ~pairs.same_view
        allowed = ~(pairs.same_embedding if self.positives else pairs.same_id)
        if self.views == "all":
            return allowed
        return (pairs.same_view if self.views == "same" else ~pairs.same_view) & allowed

    def positive(self, pairs: Pairs) -> PairMask:
        """The mask of the positives: nothing is compared within a view that is not summed."""
        apart = pairs.same_view if self.views == "other" else pairs.same_embedding
        return pairs.same_id & ~apart


@dataclass(frozen=True)
class BlockSchedule:
    """Block schedule: which blocks of pairs are computed; of anchors alone, the upper triangle.

    Args:
        anchors: the anchors in blocks.
        candidates: the candidates in blocks.
        select: the mask of the pairs that count; symmetric in anchor and candidate.
        shared: how many candidate blocks, the first, are those of the anchors, among which only
            blocks on and above the diagonal are computed: all of the anchors' or none.
        positives: the mask of the positives that an anchor may leave out, see `LogSumExp`; None:
            no anchor does.
    """

    anchors: Sequence[EmbeddingBlock]
    candidates: Sequence[EmbeddingBlock]
    select: SelectPairs
    shared: int
    positives: SelectPairs | None = None

    @property
    def symmetric(self) -> bool:
        """Whether anchors and candidates are the same."""
        return self.shared == len(self.candidates)

    def own_positives(self, pairs: Pairs) -> Bool[Tensor, "a c"] | None:
        """The mask of a block's own positives; None where there are none."""
        mask = None if self.positives is None else self.positives(pairs).value
        return None if mask is None or mask is False else torch.as_tensor(mask)

    def blocks(self) -> Iterator[tuple[Pairs, Bool[Tensor, "a c"] | None, bool]]:
        """Blocks that have selected pairs: the pairs, a mask of those excluded, and a flag.

        The mask is None where all pairs are selected. The flag says that the block's transpose
        counts too, because it is below the diagonal and not visited.
        """
        for i, anchors in enumerate(self.anchors):
            for j, candidates in enumerate(self.candidates):
                if j < i and j < self.shared:  # below the diagonal
                    continue
                pairs = Pairs(anchors, candidates)
                excluded = (~self.select(pairs)).value
                if excluded is not True:
                    excluded = None if isinstance(excluded, bool) else excluded
                    yield pairs, excluded, i < j < self.shared


def split_into_blocks(
    views: range, samples: range, classes: Int[Tensor, " n"], unique: bool, block_size: int
) -> list[EmbeddingBlock]:
    """Split the embeddings of some views and samples into blocks, in view-major order.

    A few embeddings form one block. More are split so that no block spans two views, which makes
    most masks constant.
    """
    ranges = [(views, samples)] if samples else []
    if len(views) * len(samples) > min(block_size, MIN_SPLIT):
        parts = [samples[i : i + block_size] for i in range(0, len(samples), block_size)]
        ranges = [(range(v, v + 1), part) for v in views for part in parts]
    blocks: list[EmbeddingBlock] = []
    start = 0
    for of_views, of_samples in ranges:
        stop = start + len(of_views) * len(of_samples)
        blocks.append(EmbeddingBlock(slice(start, stop), of_views, of_samples, classes, unique))
        start = stop
    return blocks
