"""Pairs of embeddings a block at a time, and what two are to each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor

Rows = slice  # the samples that are this process's anchors
ALL: Rows = slice(None)
FEW = 256  # embeddings that are not worth cutting into views


@dataclass(frozen=True)
class Group:
    """The anchors or the candidates of a block, and what they are; asked for when needed."""

    at: slice  # their rows among all anchors or all candidates
    views: range
    samples: range
    classes: Int[Tensor, " n"]  # of all samples
    unique: bool  # whether every sample is a class of its own

    @cached_property
    def sample(self) -> Int[Tensor, " m"]:
        of = torch.arange(self.samples.start, self.samples.stop, device=self.classes.device)
        return of.repeat(len(self.views))

    @cached_property
    def view(self) -> Int[Tensor, " m"]:
        of = torch.arange(self.views.start, self.views.stop, device=self.classes.device)
        return of.repeat_interleave(len(self.samples))

    @cached_property
    def id(self) -> Int[Tensor, " m"]:
        return self.classes[self.sample]


@dataclass(frozen=True)
class Answer:
    """Yes or no for each pair of a block: one for all of them, which costs nothing, or a matrix."""

    value: bool | Bool[Tensor, "a c"]

    def __invert__(self) -> "Answer":
        return Answer(not self.value if isinstance(self.value, bool) else ~self.value)

    def __and__(self, other: "Answer") -> "Answer":
        one, two = self.value, other.value
        if isinstance(one, bool):
            return other if one else self
        if isinstance(two, bool):
            return self if two else other
        return Answer(one & two)

    def __or__(self, other: "Answer") -> "Answer":
        return ~(~self & ~other)

    def tensor(self, like: Tensor) -> Bool[Tensor, "..."]:
        if isinstance(self.value, bool):
            return torch.full((), self.value, device=like.device)
        return self.value


@dataclass(frozen=True)
class Pairs:
    """What the anchors and the candidates of a block are to each other; evaluated when asked."""

    a: Group
    c: Group

    @property
    def everything(self) -> Answer:
        """Any two."""
        return Answer(True)

    @cached_property
    def itself(self) -> Answer:
        """The very same embedding."""
        if self.a is self.c:
            m = len(self.a.views) * len(self.a.samples)
            return Answer(torch.eye(m, dtype=torch.bool, device=self.a.classes.device))
        return self.same_sample & self.same_view

    @cached_property
    def same_view(self) -> Answer:
        """Both from the same view, or tower."""
        if apart(self.a.views, self.c.views):
            return Answer(False)
        if len(self.a.views) == len(self.c.views) == 1:
            return Answer(True)
        return Answer(rearrange(self.a.view, "a -> a 1") == self.c.view)

    @cached_property
    def same_sample(self) -> Answer:
        """Both views of one sample."""
        if apart(self.a.samples, self.c.samples):
            return Answer(False)
        return Answer(rearrange(self.a.sample, "a -> a 1") == self.c.sample)

    @cached_property
    def same_id(self) -> Answer:
        """Both from the same sample, or of the same class."""
        if self.a.unique:
            return self.same_sample
        return Answer(rearrange(self.a.id, "a -> a 1") == self.c.id)


def apart(one: range, other: range) -> bool:
    return one.stop <= other.start or other.stop <= one.start


Rule = Callable[[Pairs], Answer]


@dataclass(frozen=True)
class Plan:
    """Which blocks there are: groups of anchors, groups of candidates, and whether they mirror."""

    anchors: Sequence[Group]
    candidates: Sequence[Group]
    chosen: Rule
    mirrored: bool

    def blocks(self) -> Iterator[tuple[Pairs, Bool[Tensor, "a c"] | None, bool]]:
        """A block, the pairs not chosen in it, and whether its mirror image counts as well."""
        for i, own in enumerate(self.anchors):
            for other in self.candidates[i if self.mirrored else 0 :]:
                pairs = Pairs(own, other)
                left_out = (~self.chosen(pairs)).value
                if left_out is not True:
                    left_out = None if isinstance(left_out, bool) else left_out
                    yield pairs, left_out, self.mirrored and other is not own


def groups(
    views: range, samples: range, classes: Int[Tensor, " n"], unique: bool, block: int
) -> list[Group]:
    """Views and samples, view by view, in pieces: all at once if few, else within one view."""
    cuts = [(views, samples)]
    if len(views) * len(samples) > min(block, FEW):
        parts = [samples[i : i + block] for i in range(0, len(samples), block)]
        cuts = [(range(v, v + 1), part) for v in views for part in parts]
    found: list[Group] = []
    start = 0
    for of, part in cuts:
        stop = start + len(of) * len(part)
        found.append(Group(slice(start, stop), of, part, classes, unique))
        start = stop
    return found
