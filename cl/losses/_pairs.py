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


@dataclass(frozen=True)
class Group:
    """The anchors or the candidates of a block, and what they are."""

    at: slice  # their rows among all anchors or all candidates
    view: Int[Tensor, " m"]
    sample: Int[Tensor, " m"]
    id: Int[Tensor, " m"]  # of the sample, or its class
    views: tuple[int, int]  # first and last view in it
    samples: tuple[int, int]  # first and last sample in it
    unique: bool  # whether every sample has an id of its own


@dataclass(frozen=True)
class Pairs:
    """What the anchors and the candidates of a block are to each other; evaluated when asked.

    Where the whole block has one answer, it is a tensor without axes and costs nothing.
    """

    a: Group
    c: Group

    def whole(self, answer: bool) -> Bool[Tensor, ""]:
        return torch.tensor(answer)

    @property
    def everything(self) -> Bool[Tensor, ""]:
        """Any two."""
        return self.whole(True)

    @cached_property
    def itself(self) -> Bool[Tensor, "..."]:
        """The very same embedding."""
        return self.same_sample & self.same_view

    @cached_property
    def same_view(self) -> Bool[Tensor, "..."]:
        """Both from the same view, or tower."""
        (first, last), (left, right) = self.a.views, self.c.views
        if last < left or right < first:
            return self.whole(False)
        if first == last and left == right:
            return self.whole(True)
        return rearrange(self.a.view, "a -> a 1") == self.c.view

    @cached_property
    def same_sample(self) -> Bool[Tensor, "..."]:
        """Both views of one sample."""
        if self.a.samples[1] < self.c.samples[0] or self.c.samples[1] < self.a.samples[0]:
            return self.whole(False)
        return rearrange(self.a.sample, "a -> a 1") == self.c.sample

    @cached_property
    def same_id(self) -> Bool[Tensor, "..."]:
        """Both from the same sample, or of the same class."""
        if self.a.unique:
            return self.same_sample
        return rearrange(self.a.id, "a -> a 1") == self.c.id


Rule = Callable[[Pairs], Bool[Tensor, "..."]]


@dataclass(frozen=True)
class Plan:
    """Which blocks there are: groups of anchors, groups of candidates, and whether they mirror."""

    anchors: Sequence[Group]
    candidates: Sequence[Group]
    chosen: Rule
    mirrored: bool

    def blocks(self) -> Iterator[tuple[Pairs, Bool[Tensor, "..."], bool]]:
        """A block, the pairs chosen in it, and whether its mirror image counts as well."""
        for i, own in enumerate(self.anchors):
            for other in self.candidates[i if self.mirrored else 0 :]:
                pairs = Pairs(own, other)
                chosen = self.chosen(pairs)
                if chosen.ndim or bool(chosen):
                    yield pairs, chosen, self.mirrored and other is not self.candidates[i]


def groups(
    views: range, samples: range, classes: Int[Tensor, " n"], unique: bool, block: int
) -> list[Group]:
    """Views and samples, view by view, in pieces: all at once if few, else within one view."""
    if len(views) * len(samples) <= block:
        cuts = [(views, samples)]
    else:
        parts = [samples[i : i + block] for i in range(0, len(samples), block)]
        cuts = [(range(v, v + 1), part) for v in views for part in parts]
    found: list[Group] = []
    start = 0
    for of, part in cuts:
        sample = torch.arange(part.start, part.stop, device=classes.device).repeat(len(of))
        view = torch.arange(of.start, of.stop, device=classes.device)
        view = view.repeat_interleave(len(part))
        ends = (of[0], of[-1]), (part.start, part.stop - 1)
        rows = slice(start, start + len(sample))
        found.append(Group(rows, view, sample, classes[sample], *ends, unique))
        start += len(sample)
    return found
