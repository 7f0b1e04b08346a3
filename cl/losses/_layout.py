"""How one matrix product, or a batch of them, has all pairs of a small batch; no masks."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cl.losses._pairs import disjoint, take


@dataclass(frozen=True)
class PairLayout:
    """Where the pairs of one sample are in a matrix of pairs, or in a batch of them.

    Args:
        anchors: their views and samples; in a matrix samples run fastest.
        candidates: their views and samples, which are all.
        product: which matrices there are. one: of all anchors and all candidates. each: of every
            view with itself. crossed: of each of two views with the other. mutual: of the first
            view with the second, whose rows and columns both have anchors.
        subtract_max: whether the largest similarity of a row must be subtracted before the
            exponential, because the scale may be above `MAX_SAFE_SCALE`.
    """

    anchors: tuple[range, range]
    candidates: tuple[range, range]
    product: Literal["one", "each", "crossed", "mutual"]
    subtract_max: bool = False

    @cached_property
    def shape(self) -> tuple[int, int]:
        """How many views the anchors and the candidates of a matrix are from."""
        return (len(self.anchors[0]), len(self.candidates[0])) if self.product == "one" else (1, 1)

    @cached_property
    def own_view(self) -> int | None:
        """The candidate view that is the first anchor's; None: no anchor meets itself."""
        views, of_views = self.anchors[0], self.candidates[0]
        if self.product in {"crossed", "mutual"} or disjoint(views, of_views):
            return None
        return views.start - of_views.start if self.product == "one" else 0

    @cached_property
    def pairs(self) -> int:
        """How many pairs its matrices have if all samples are anchors."""
        views = {"one": math.prod(self.shape), "mutual": 1}.get(self.product, len(self.anchors[0]))
        return views * len(self.candidates[1]) ** 2

    @cached_property
    def is_alone(self) -> bool:
        """Whether the candidates of each matrix are its anchors."""
        return self.own_view is not None and self.anchors == self.candidates

    def are_halves_of(self, z: Float[Tensor, "v n d"]) -> bool:
        """Whether the first of two views has all anchors, the second all candidates."""
        return len(z) == 2 and self.one_to_next and len(self.anchors[1]) == z.shape[1]

    @cached_property
    def one_to_next(self) -> bool:
        """Whether the anchors are of one view, and the candidates of the next."""
        views, of_views = self.anchors[0], self.candidates[0]
        return len(views) == len(of_views) == 1 and views.stop == of_views.start

    @cached_property
    def is_rowwise(self) -> bool:
        """Whether each anchor's pairs are a row with one positive, and of no other anchor's."""
        return self.product == "one" and self.shape == (1, 1) and self.own_view is None

    @cached_property
    def positives(self) -> int:
        """How many of a sample's candidates are not the anchor."""
        return self.shape[1] - (self.own_view is not None)

    def own(self, x: Float[Tensor, "... m c"]) -> Float[Tensor, "... a w r"]:
        """A view of the pairs of one sample, by anchor view, candidate view and anchor sample."""
        views, of_views = self.shape
        if views == of_views == 1 and x.dim() == 2:
            return x.diagonal(self.anchors[1].start)[None, None]
        pairs = x.view(*x.shape[:-2], views, -1, of_views, x.shape[-1] // of_views)
        return pairs.diagonal(self.anchors[1].start, -3, -1)

    def fill_self(self, own: Float[Tensor, "... a w r"], value: float) -> None:
        """Fill the pairs of an anchor with itself."""
        if self.own_view is not None:
            own.diagonal(self.own_view, -3, -2).fill_(value)

    def arrange(self, z: Float[Tensor, "v n d"]) -> tuple[Tensor, Tensor | None]:
        """The anchors and the candidates of the product; None: the anchors."""
        if self.are_halves_of(z):
            one, other = z.unbind()  # a single node of autograd
            return one, other
        q = take(z, self.anchors)
        if self.product == "mutual":
            one, other = q.unbind()
            return one, other
        k = None if self.is_alone else take(z, self.candidates)
        if self.product == "one":
            return q.flatten(0, 1), None if k is None else k.flatten(0, 1)
        return q, k.flip(0) if k is not None and self.product == "crossed" else k

    def gather(self, dq: Tensor, dk: Tensor | None, like: Float[Tensor, "v n d"]) -> Tensor:
        """The gradient of all embeddings, from those of what `arrange` returns."""
        if dk is not None and (self.product == "mutual" or self.are_halves_of(like)):
            dq, dk = torch.stack([dq, dk]), None
        if dk is None and dq.numel() == like.numel():
            return dq.view_as(like)
        dz = torch.zeros_like(like)
        of_anchors, of_candidates = take(dz, self.anchors), take(dz, self.candidates)
        of_anchors += dq.view_as(of_anchors)
        if dk is not None:
            of_candidates += dk.flip(0) if self.product == "crossed" else dk.view_as(of_candidates)
        return dz


@lru_cache(64)  # the same of every step
def lay_out(
    anchors: tuple[range, range],
    candidates: tuple[range, range],
    views: Literal["all", "same", "other"],
    subtract_max: bool = False,
) -> PairLayout | None:
    """Find the product that has all pairs; None if there is none.

    Args:
        anchors: their views and samples.
        candidates: their views and samples, which are all.
        views: the views whose pairs count, see `Denominator`.
        subtract_max: see `PairLayout`; not of both rows and columns of a matrix.
    """
    of_anchors, of_candidates = anchors[0], candidates[0]
    same = of_anchors == of_candidates
    if views == "same":
        return PairLayout(anchors, candidates, "each", subtract_max) if same else None
    if views == "other" and same and len(of_anchors) == 2:
        mutual = anchors[1] == candidates[1] and not subtract_max
        return PairLayout(anchors, candidates, "mutual" if mutual else "crossed", subtract_max)
    inside = of_anchors.start >= of_candidates.start and of_anchors.stop <= of_candidates.stop
    if disjoint(of_anchors, of_candidates) or (inside and views == "all"):
        return PairLayout(anchors, candidates, "one", subtract_max)
    return None
