"""What the softmax losses share: the log-sum-exp of a denominator minus a mean over positives."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cl.losses._defined import mean, require_positive, require_views
from cl.losses._direct import MAX_PAIRS, DirectLogSumExp
from cl.losses._fused import FEW, fused_loss, is_fused
from cl.losses._layout import PairLayout, lay_out
from cl.losses._logsumexp import MAX_SAFE_SCALE, log_sum_exp
from cl.losses._pairs import (
    ALL,
    BlockSchedule,
    Denominator,
    PairMask,
    Pairs,
    Rows,
    SelectPairs,
    split_into_blocks,
    take,
)
from cl.losses._whole import (
    LINEAR,
    Adjust,
    Choose,
    EnergyLoss,
    MaskedLoss,
    RowwiseLoss,
    SoftmaxLoss,
    chosen_pairs,
)
from cl.precision import precise, unit, without_autocast

# Pairs up to which compiled loops are faster than torch's operations on their matrix, and than
# those on masks of ids.
MAX_COMPILED, MAX_COMPILED_IDS = 2**14, 2**16
MAX_MASKED = 2**19  # pairs up to which a mask of them all is faster than blocks
CPU_BLOCK, GPU_BLOCK = 1024, 4096  # anchors and candidates of a block; 4 MB fit a CPU's cache


@dataclass(frozen=True)
class PairContext:
    """The normalized embeddings of a loss: which are anchors, which candidates, which positives.

    A similarity is a cosine times the scale. Results have one value per anchor, `(v r)`, unless
    their method says otherwise.

    Args:
        z: embeddings of unit length.
        scale: the inverse temperature.
        max_scale: an upper bound of the scale; infinite where reading it would synchronize a GPU.
        classes: the class of each sample, numbered from 0.
        unique: whether every sample is a class of its own.
        anchors: views and samples of the anchors.
        candidates: views and samples of the candidates.
        block_size: how many anchors and candidates a block has at most.
    """

    z: Float[Tensor, "v n d"]
    scale: Float[Tensor, ""]
    max_scale: float
    classes: Int[Tensor, " n"]
    unique: bool
    anchors: tuple[range, range]
    candidates: tuple[range, range]
    block_size: int

    @property
    def q(self) -> Float[Tensor, "a d"]:
        """The anchors, view by view."""
        return rearrange(take(self.z, self.anchors), "v r d -> (v r) d")

    @property
    def k(self) -> Float[Tensor, "c d"]:
        """The candidates, view by view."""
        return rearrange(take(self.z, self.candidates), "v n d -> (v n) d")

    def schedule(self, select: SelectPairs, *, symmetric: bool = True) -> BlockSchedule:
        """Schedule the blocks of the selected pairs.

        Args:
            select: the mask of the pairs that count; symmetric in anchor and candidate.
            symmetric: compute only the upper triangle of anchors that are candidates, too, before
                all others.
        """
        anchors, candidates = (
            split_into_blocks(views, samples, self.classes, self.unique, self.block_size)
            for views, samples in (self.anchors, self.candidates)
        )
        first = candidates[: len(anchors)]
        if symmetric and [block.place for block in anchors] == [block.place for block in first]:
            return BlockSchedule(
                anchors, [*anchors, *candidates[len(anchors) :]], select, len(anchors)
            )
        return BlockSchedule(anchors, candidates, select, 0)

    def log_sum_exp(self, select: SelectPairs, power: float = 1.0) -> Float[Tensor, "v r"]:
        r"""$\log \sum_j e^{power \cdot s_{ij}}$ over the selected j; -inf if there are none."""
        found = self.direct(select, power) if isinstance(select, Denominator) else None
        if found is not None:
            return found[0]
        subtract_max = self.max_scale * abs(power) > MAX_SAFE_SCALE
        schedule = self.schedule(select)
        lse, _ = log_sum_exp(self.q, self.k, self.scale * power, schedule, subtract_max)
        return rearrange(lse, "(v r) -> v r", v=len(self.anchors[0]))

    def softmax_losses(self, denominator: SelectPairs) -> Float[Tensor, "v r"]:
        """Log-sum-exp over the denominator minus the mean similarity to the positives.

        0 for an anchor without positives.
        """
        if isinstance(denominator, Denominator):
            found = self.direct(denominator)
            if found is not None and len(found[1]):
                rest = found[0] - found[1]  # without the positive, so accurate near zero, too
                return F.softplus(rest, 1, LINEAR) if denominator.positives else rest
        other_views = isinstance(denominator, Denominator) and denominator.views == "other"
        positive, count = self.mean_positive(other_views=other_views)
        return log_odds(*self.log_denominator(denominator, count == 1), positive) * (count > 0)

    def direct(
        self, select: Denominator, power: float = 1.0
    ) -> tuple[Float[Tensor, "v r"], Float[Tensor, "p r"]] | None:
        """The log-sum-exp over other samples, and each anchor's positive, of a small batch.

        Returns:
            The log-sum-exp, and the similarity to the positive, which is empty unless there is one;
            None where the block engine is needed.
        """
        several = self.z.shape[1] > 1 and self.anchors[1] and self.candidates[0]
        if not (self.unique and several):
            return None
        subtract_max = self.max_scale * abs(power) > MAX_SAFE_SCALE
        layout = lay_out(self.anchors, self.candidates, select.views, subtract_max)
        if layout is None or not is_small(self.z, layout.pairs):
            return None
        q, k = layout.arrange(self.z)
        rest, positive, *_ = DirectLogSumExp.apply(
            q, k, self.scale if power == 1 else self.scale * power, layout
        )
        return rest, positive

    def log_denominator(
        self,
        denominator: SelectPairs,
        single: Bool[Tensor, "v r"],
        own: SelectPairs | None = None,
    ) -> tuple[Float[Tensor, "v r"], Bool[Tensor, "v r"]]:
        r"""$\log \sum_j e^{s_{ij}}$, of which `log_odds` is to subtract a positive's similarity.

        Args:
            denominator: the mask of the pairs.
            single: the anchors that have a single positive.
            own: the mask of these positives; None: `single_positives`.

        Returns:
            The log-sum-exp, and which anchors' positive holds nearly all of it and is left out.
        """
        if own is None and len(self.candidates[0]) <= 2:  # more views are more positives
            own = self.single_positives
        schedule = replace(self.schedule(denominator), positives=own)
        subtract_max = self.max_scale > MAX_SAFE_SCALE
        of_anchors = None if own is None else single.flatten()
        found = log_sum_exp(self.q, self.k, self.scale, schedule, subtract_max, of_anchors)
        lse, dominated = (rearrange(x, "(v r) -> v r", v=len(self.anchors[0])) for x in found)
        return lse, dominated

    def single_positives(self, pairs: Pairs) -> PairMask:
        """The positive of each anchor that has only one; of others any part of theirs."""
        if self.unique or len(self.candidates[0]) == 2:  # then a class of one has it in a view
            return pairs.same_sample & ~pairs.same_view
        return pairs.same_id & ~pairs.same_embedding

    def mean_positive(
        self, *, other_views: bool = False
    ) -> tuple[Float[Tensor, "v r"], Int[Tensor, "v r"]]:
        """Mean similarity of each anchor to its positives, and the number of positives.

        No pairs are computed: the mean of dot products is the dot product with the mean.

        Args:
            other_views: positives are in other views than the anchor's, also those of its class.
        """
        views, of_views = self.anchors[0], self.candidates[0]
        anchors, is_candidate = take(self.z, self.anchors), self.are_candidates()
        sums = reduce(self.z[of_views.start : of_views.stop], "v n d -> n d", "sum")
        # Subtracting from the class sum first would need a tensor as large as z.
        to_class = (anchors * self.class_sums(sums)).sum(dim=-1)
        if other_views and not self.unique:
            own = [self.class_sums(self.z[view]) for view in views]
            to_own = torch.stack([(x * y).sum(dim=-1) for x, y in zip(anchors, own, strict=True)])
        else:
            to_own = anchors.square().sum(dim=-1)
        count = self.count_positives(other_views=other_views)
        return (to_class - to_own * is_candidate) * self.scale / count.clamp(min=1), count

    def class_sums(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "r d"]:
        """The sum over the class of each anchor's sample."""
        samples = slice(self.anchors[1].start, self.anchors[1].stop)
        if self.unique:
            return x[samples]
        return torch.zeros_like(x).index_add(0, self.classes, x)[self.classes[samples]]

    def count_positives(self, *, other_views: bool = False) -> Int[Tensor, "v r"]:
        """The number of positives of each anchor, see `mean_positive`."""
        views, samples = self.anchors
        of_class = self.class_sizes()[self.classes[samples.start : samples.stop]]
        own = self.are_candidates() * (of_class if other_views else 1)
        return (len(self.candidates[0]) * of_class - own).expand(len(views), len(samples))

    def are_candidates(self) -> Bool[Tensor, "v 1"]:
        """Which anchor views are candidates too."""
        views, of_views = self.anchors[0], self.candidates[0]
        view = torch.arange(views.start, views.stop, device=self.classes.device)
        return rearrange((view >= of_views.start) & (view < of_views.stop), "v -> v 1")

    def class_sizes(self) -> Int[Tensor, " n"]:
        """How many samples each class has."""
        zeros = torch.zeros_like(self.classes)  # `bincount` would synchronize a GPU
        return zeros.index_add(0, self.classes, torch.ones_like(zeros))

    def swapped(self) -> "PairContext":
        """The local samples of the candidate views as anchors, the anchor views as candidates."""
        return replace(
            self,
            anchors=(self.candidates[0], self.anchors[1]),
            candidates=(self.anchors[0], self.candidates[1]),
        )

    def all_anchors(self) -> "PairContext":
        """The same with the samples of all processes as anchors, not only the local ones."""
        return replace(self, anchors=(self.anchors[0], range(self.z.shape[1])))

    def own_cosines(self) -> Float[Tensor, "v w r"]:
        """Cosine of each anchor with every candidate of its own sample, itself included."""
        own = take(self.z, (self.candidates[0], self.anchors[1]))
        return einsum(take(self.z, self.anchors), own, "v r d, w r d -> v w r")

    def own_positives(self) -> Float[Tensor, "v w r"]:
        """Similarity of each anchor to its sample's other views; -inf to itself.

        Raises:
            ValueError: there is only one view.
        """
        require_views(self.z)
        return (self.own_cosines() * self.scale).masked_fill(~self.views_differ(), -torch.inf)

    def own_pairs(self) -> list[tuple[Float[Tensor, "r d"], Float[Tensor, "r d"]]]:
        """Two views of each anchor's sample, by pairs of an anchor view and another candidate."""
        samples = slice(self.anchors[1].start, self.anchors[1].stop)
        pairs = [(v, w) for v in self.anchors[0] for w in self.candidates[0] if v != w]
        return [(self.z[v, samples], self.z[w, samples]) for v, w in pairs]

    def views_differ(self) -> Bool[Tensor, "v w 1"]:
        """Which pairs of an anchor view and a candidate view are two different views."""
        v, w = (
            torch.arange(views.start, views.stop, device=self.z.device)
            for views, _ in (self.anchors, self.candidates)
        )
        return rearrange(v, "v -> v 1 1") != rearrange(w, "w -> w 1")

    def select_other_views(self, x: Float[Tensor, "v w r"]) -> Float[Tensor, "p r"]:
        """The entries of `x` of two different views; a boolean mask would synchronize a GPU."""
        pairs = [
            x[i, j]
            for i, v in enumerate(self.anchors[0])
            for j, w in enumerate(self.candidates[0])
            if v != w
        ]
        return torch.stack(pairs) if pairs else x[:0, 0]


def compare(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    *,
    anchor_views: slice = ALL,
    candidate_views: slice = ALL,
    block_size: int | None = None,
) -> PairContext:
    """Normalize embeddings, in float32 at least, and set anchors against candidates.

    Args:
        z: embeddings of every view of every sample, of any length.
        ids: samples with equal ids are positives; None: each sample is its own class.
        rows: the local anchors; all of `z` are candidates.
        temperature: a number above 0, or a tensor that may be learnable.
        anchor_views: the views that are anchors, consecutive; all by default.
        candidate_views: the views that are candidates, consecutive; all by default.
        block_size: how many anchors and candidates a block has at most; None: `CPU_BLOCK` or
            `GPU_BLOCK`.

    Raises:
        ValueError: the temperature is not above 0.
    """
    require_positive(temperature=temperature)
    v, n, _ = z.shape
    z = unit(z)
    return PairContext(
        z,
        as_scalar(inverse(temperature, z), z),
        largest_scale(temperature),
        torch.arange(n, device=z.device) if ids is None else renumber(ids),
        ids is None,
        (range(v)[anchor_views], range(n)[rows]),
        (range(v)[candidate_views], range(n)),
        block_size or (GPU_BLOCK if z.is_cuda else CPU_BLOCK),
    )


def is_small(z: Float[Tensor, "v n d"], pairs: int) -> bool:
    """Whether the similarities of so many pairs may be kept; the same on all processes."""
    return pairs <= MAX_PAIRS.get(z.device.type, MAX_PAIRS["cpu"])


def fits_whole(z: Float[Tensor, "v n d"], layout: PairLayout) -> bool:
    """Whether a loss of these embeddings may be one function that keeps all pairs."""
    return is_small(z, layout.pairs) and is_one_function(z)


def is_one_function(z: Float[Tensor, "v n d"]) -> bool:
    """Whether a loss of these embeddings may be one function."""
    return z.numel() > 0 and not torch.compiler.is_compiling()


def is_compiled(
    z: Float[Tensor, "v n d"], ids: Int[Tensor, " n"] | None, pairs: int, denominator: Denominator
) -> bool:
    """Whether compiled loops are the fastest for so many pairs; the same on all processes."""
    few = pairs <= (MAX_COMPILED if ids is None else MAX_COMPILED_IDS)
    fits = few and denominator.views != "same" and is_one_function(z)
    return fits and z.device.type == "cpu" and z.dtype != torch.float64


def inverse(temperature: float | Tensor, like: Tensor) -> float | Float[Tensor, ""]:
    """The scale of similarities; NaN where a temperature that was not read is not above 0."""
    if not isinstance(temperature, Tensor):
        return 1 / temperature
    temperature = temperature.to(like)
    if math.isinf(largest_scale(temperature)):
        temperature = temperature.where(temperature > 0, torch.nan)
    return 1 / temperature


def as_scalar(x: float | Tensor, like: Tensor) -> Float[Tensor, ""]:
    """A scalar tensor of the kind of `like`; a number is filled in on the device, not copied."""
    if isinstance(x, Tensor):
        return x.to(like)
    return torch.full((), x, dtype=like.dtype, device=like.device)


def largest_scale(temperature: float | Tensor) -> float:
    """The inverse temperature; infinite on an accelerator, where reading it would synchronize."""
    if isinstance(temperature, Tensor) and temperature.device.type != "cpu":
        return math.inf
    return 1 / abs(float(temperature.detach() if isinstance(temperature, Tensor) else temperature))


def renumber(ids: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Map ids to 0, 1, ... in ascending order; `unique` would synchronize a GPU."""
    values, order = ids.sort()
    number = F.pad((values[1:] != values[:-1]).cumsum(0), (1, 0))[: len(ids)]
    return torch.empty_like(order).scatter(0, order, number)


def softmax_loss(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    denominator: SelectPairs,
    **views: Any,
) -> Float[Tensor, ""]:
    r"""Mean over anchors of $\log \sum_{j \in D_i} e^{s_{ij}} - \mathrm{mean}_{j \in P_i} s_{ij}$.

    $s_{ij}$ is the cosine over the temperature. An anchor without positives counts as zero; one
    with an empty denominator has no first term. Everything is computed in float32, also under
    autocast; float64 stays float64.

    Args:
        z: see `cl.losses`.
        ids: see `cl.losses`.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        denominator: $D_i$, the mask of the pairs in the denominator; symmetric in anchor and
            candidate.
        views: `anchor_views`, `candidate_views` and `block_size` of `compare`.

    Returns:
        The mean over the local anchors, a scalar.
    """
    with without_autocast(z):
        if isinstance(denominator, Denominator) and not views.get("block_size"):
            whole = whole_loss(z, ids, rows, temperature, denominator, **views)
            if whole is not None:
                return whole
        context = compare(z, ids, rows, temperature, **views)
        return mean(context.softmax_losses(denominator))


def whole_loss(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    denominator: Denominator,
    *,
    anchor_views: slice = ALL,
    candidate_views: slice = ALL,
    weight: float = 1.0,
    joint: bool = False,
    adjust: Adjust | None = None,
    margin: float = 0.0,
    choose: Choose | None = None,
) -> Float[Tensor, ""] | None:
    """`softmax_loss` of a small batch in one function; None where this is not possible.

    Args:
        z: see `softmax_loss`, like the other arguments.
        ids: see there.
        rows: see there.
        temperature: see there.
        denominator: see there.
        anchor_views: see `compare`.
        candidate_views: see `compare`.
        weight: of the log-sum-exp, where the denominator has the anchor's view alone.
        joint: see `EnergyLoss`.
        adjust: what stands for the similarity to a positive, where there is one.
        margin: the angle that `adjust` adds to a positive's, in radians; 0: it does another thing.
        choose: which pairs count, in place of the denominator and of positives by ids.
    """
    require_positive(temperature=temperature)
    views, samples = range(len(z)), range(z.shape[1])
    anchors, candidates = (views[anchor_views], samples[rows]), (views[candidate_views], samples)
    if not (anchors[0] and anchors[1] and candidates[0]):
        return None
    pairs = len(anchors[0]) * len(candidates[0]) * len(samples) ** 2
    special = joint or choose is not None or (adjust is not None and not margin)
    if not special and is_compiled(z, ids, pairs, denominator):
        from cl.losses._compiled import compiled_loss  # takes Numba, for which others do not wait

        z = precise(z)
        scale = inverse(temperature, z)
        return compiled_loss(z, ids, scale, (anchors, candidates), denominator, margin)
    subtract_max, layout = largest_scale(temperature) > MAX_SAFE_SCALE, None
    if ids is None and z.shape[1] > 1 and choose is None:
        layout = lay_out(anchors, candidates, denominator.views, subtract_max)
        rowwise = layout is not None and layout.is_rowwise and z.device.type == "cpu"
        if layout and not (fits_whole(z, layout) or (rowwise and is_one_function(z))):
            layout = None
    z = precise(z)
    scale = inverse(temperature, z)
    plain = not joint and adjust is None and choose is None
    if plain and is_fused(z) and not (layout and layout.pairs > FEW):
        return fused_loss(z, ids, scale, (anchors, candidates), denominator, weight)
    if layout is None or (layout.positives != 1 and layout.product != "each"):
        if joint or adjust is not None or pairs > MAX_MASKED or not is_one_function(z):
            return None
        choose = choose or partial(chosen_pairs, denominator)
        places = anchors, candidates
        loss = MaskedLoss.of(z, scale, ids, places, choose, weight, subtract_max)
    elif layout.positives == 1:
        kind = SoftmaxLoss if is_small(z, layout.pairs) else RowwiseLoss
        loss = kind.of(z, scale, layout, denominator.positives, adjust)
    elif layout.product == "each" and anchors[0] == views and len(views) > 1:
        loss = EnergyLoss.of(z, scale, layout, weight, joint)
    else:
        return None
    return loss


def log_odds(
    log_denominator: Float[Tensor, "v r"],
    dominated: Bool[Tensor, "v r"],
    positive: Float[Tensor, "v r"],
) -> Float[Tensor, "v r"]:
    r"""The log-denominator minus the positive's similarity, accurate near zero.

    Args:
        log_denominator: of `PairContext.log_denominator`; -inf where it is empty, which counts as
            0.
        dominated: where the positive p was left out of it. There this is
            $\log(1 + \sum_{j \ne p} e^{s_j - s_p})$, since the difference would be rounding noise.
        positive: the similarity that is subtracted.
    """
    difference = log_denominator.masked_fill(log_denominator == -torch.inf, 0.0) - positive
    return torch.where(dominated, -F.logsigmoid(positive - log_denominator), difference)


def mean_over_anchors(
    log_denominator: Float[Tensor, "v r"],
    positive: Float[Tensor, "v r"],
    count: Int[Tensor, "v r"],
) -> Float[Tensor, ""]:
    """Average log-denominator minus positive term over the anchors.

    Args:
        log_denominator: -inf where the denominator is empty, which then counts as zero.
        positive: mean similarity to the positives.
        count: how many positives there are; an anchor without any counts as zero.
    """
    log_denominator = log_denominator.masked_fill(log_denominator == -torch.inf, 0.0)
    return mean((log_denominator - positive) * (count > 0))
