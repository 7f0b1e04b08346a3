r"""What NT-Xent, InfoNCE, DCL, DHEL and SupCon share: pull positives, push a chosen set of pairs.

The similarities are computed a block at a time, reduced to one log-sum-exp an anchor, thrown away,
and computed again in the backward: memory is $O(B d)$ and one block, never $B^2$. Where anchors and
candidates are the same embeddings, a block above the diagonal serves its rows and its columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 1024  # anchors and candidates of a block: 4 MB in float32, which caches keep
Rows = slice  # the samples that are this process's anchors
ALL: Rows = slice(None)


@dataclass(frozen=True)
class Group:
    """Rows of the embeddings in which anchors or candidates of a block lie, and what they are."""

    place: Int[Tensor, " m"]  # of the embedding among all
    view: Int[Tensor, " m"]
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

    @cached_property
    def itself(self) -> Bool[Tensor, "..."]:
        """The very same embedding."""
        if self.disjoint or self.a.views[1] < self.c.views[0] or self.c.views[1] < self.a.views[0]:
            return self.whole(False)
        return rearrange(self.a.place, "a -> a 1") == self.c.place

    @cached_property
    def same_view(self) -> Bool[Tensor, "..."]:
        """Both from the same view, or tower."""
        if self.a.views[0] == self.a.views[1] and self.c.views[0] == self.c.views[1]:
            return self.whole(self.a.views == self.c.views)
        return rearrange(self.a.view, "a -> a 1") == self.c.view

    @cached_property
    def same_id(self) -> Bool[Tensor, "..."]:
        """Both from the same sample, or of the same class."""
        if self.a.unique and self.disjoint:
            return self.whole(False)
        return rearrange(self.a.id, "a -> a 1") == self.c.id

    @property
    def disjoint(self) -> bool:
        """No sample is in both."""
        return self.a.samples[1] < self.c.samples[0] or self.c.samples[1] < self.a.samples[0]


Rule = Callable[[Pairs], Bool[Tensor, "..."]]


@dataclass(frozen=True)
class Plan:
    """Which blocks there are: groups of anchors, groups of candidates, and whether they mirror."""

    anchors: list[tuple[slice, Group]]
    candidates: list[tuple[slice, Group]]
    pushed: Rule
    mirrored: bool

    def blocks(self) -> Iterator[tuple[slice, slice, Bool[Tensor, "..."], bool]]:
        """Anchors, candidates, the pushed pairs, and whether the mirror image counts as well."""
        for i, (a, own) in enumerate(self.anchors):
            for j, (c, other) in enumerate(self.candidates):
                if self.mirrored and j < i:
                    continue
                pushed = self.pushed(Pairs(own, other))
                if pushed.ndim or bool(pushed):
                    yield a, c, pushed, self.mirrored and j > i


class LogSumExp(torch.autograd.Function):
    """Row log-sum-exp of `scale * q @ k.T` over the pushed pairs; -inf for a row without any."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, scale: Tensor, plan: Plan) -> Tensor:
        top = q.new_full((len(q),), -torch.inf)  # the running maximum, and the sum relative to it
        sum_ = torch.zeros_like(top)

        def take(rows: slice, x: Tensor, dim: int) -> None:
            higher = torch.maximum(top[rows], x.amax(dim))
            safe = higher.masked_fill(higher == -torch.inf, 0.0)
            fresh = (x - safe.unsqueeze(dim)).exp_().sum(dim)
            sum_[rows] = sum_[rows] * (top[rows] - safe).exp() + fresh
            top[rows] = higher

        with torch.autocast(q.device.type, enabled=False):
            scaled = q * scale
            for a, c, pushed, mirror in plan.blocks():
                x = similarities(scaled[a], k[c], pushed)
                take(a, x, 1)
                if mirror:
                    take(c, x, 0)
        lse = top + sum_.log()
        ctx.save_for_backward(q, k, scale, lse)
        ctx.plan = plan
        return lse

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grad_outputs
        q, k, scale, lse = ctx.saved_tensors
        dq, dk = torch.zeros_like(q), torch.zeros_like(k)
        lse = lse.masked_fill(lse == -torch.inf, 0.0)
        with torch.autocast(q.device.type, enabled=False):
            scaled = q * scale
            for a, c, pushed, mirror in ctx.plan.blocks():
                x = similarities(scaled[a], k[c], pushed)
                own = rearrange(lse[a], "a -> a 1"), rearrange(g[a], "a -> a 1")
                if (
                    mirror
                ):  # x_ij = x_ji: the candidate is an anchor too, and the anchor its candidate
                    weight = (x - lse[c]).exp_().mul_(g[c])
                    weight += x.sub_(own[0]).exp_().mul_(own[1])
                else:
                    weight = x.sub_(own[0]).exp_().mul_(own[1])
                dq[a].addmm_(weight, k[c])
                dk[c].addmm_(weight.T, q[a])
        # The mirror image's shares stand where the block's own do: q and k are the same rows there.
        dscale = (dq * q).sum() if ctx.needs_input_grad[2] else None
        return dq * scale, dk * scale, dscale, None


def similarities(
    q: Float[Tensor, "a d"], k: Float[Tensor, "c d"], pushed: Bool[Tensor, "..."]
) -> Float[Tensor, "a c"]:
    x = q @ k.T
    return x.masked_fill_(~pushed, -torch.inf) if pushed.ndim else x


def contrast(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    pushed: Rule,
    *,
    anchor_views: slice = slice(None),
    block: int = BLOCK,
) -> Float[Tensor, ""]:
    r"""Mean over anchors of $\log \sum_{j \in N_i} e^{s_{ij}} - \mathrm{mean}_{j \in P_i} s_{ij}$.

    $s_{ij}$ is the cosine over the temperature. An anchor without positives counts as zero, one
    with an empty $N_i$ has no first term. Statistics are in float32, also under autocast; float64
    stays.

    Args:
        z: embeddings of every view of every sample, of any length.
        ids: samples with equal ids are positives; by default each sample is its own.
        rows: the samples that are this process's anchors; all of `z` are candidates.
        temperature: a number, or a tensor that learns.
        pushed: the pairs in the denominator, $N_i$; symmetric in anchor and candidate.
        anchor_views: the views that are anchors; all by default.
        block: anchors and candidates computed with at once.
    """
    v, n, _ = z.shape
    with torch.autocast(z.device.type, enabled=False):
        z = F.normalize(z if z.dtype == torch.float64 else z.float(), dim=-1)
        scale = 1 / torch.as_tensor(temperature, dtype=z.dtype, device=z.device)
        sample = torch.arange(n, device=z.device)
        classes = sample if ids is None else ids.unique(return_inverse=True)[1]
        of = range(v)[anchor_views], range(n)[rows]
        everyone = range(v), range(n)
        anchors, candidates = (
            groups(views, samples, n, classes, ids is None, block)
            for views, samples in (of, everyone)
        )
        q = rearrange(z[anchor_views, rows], "v r d -> (v r) d")
        k = rearrange(z, "v n d -> (v n) d")
        mirrored = of == everyone
        lse = LogSumExp.apply(q, k, scale, Plan(anchors, candidates, pushed, mirrored))
        assert isinstance(lse, Tensor)

        # The mean similarity to the positives needs no pairs: it is that to their mean.
        group = torch.zeros_like(z[0]).index_add(0, classes, reduce(z, "v n d -> n d", "sum"))
        own = torch.cat([classes[rows]] * len(of[0]))
        positives = v * torch.bincount(classes, minlength=n)[own] - 1
        pull = (q * (group[own] - q)).sum(dim=1) * scale / positives.clamp(min=1)
        push = lse.masked_fill(lse == -torch.inf, 0.0)
        return ((push - pull) * (positives > 0)).mean()


def groups(
    views: range, samples: range, n: int, classes: Int[Tensor, " n"], unique: bool, block: int
) -> list[tuple[slice, Group]]:
    """The rows of some views and samples in pieces: all at once if few, else within one view."""
    if len(views) * len(samples) <= block:
        cuts = [(views, samples)]
    else:
        parts = [samples[i : i + block] for i in range(0, len(samples), block)]
        cuts = [(range(v, v + 1), part) for v in views for part in parts]
    found, start = [], 0
    for vs, part in cuts:
        at = torch.arange(part.start, part.stop, device=classes.device)
        place = torch.cat([v * n + at for v in vs])
        span = (part.start, part.stop - 1)
        group = Group(place, place // n, classes[place % n], (vs[0], vs[-1]), span, unique)
        found.append((slice(start, start + len(place)), group))
        start += len(place)
    return found
