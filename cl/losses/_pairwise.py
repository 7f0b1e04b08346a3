"""What the softmax losses share: anchors pull their positives and push a chosen set of pairs."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cl.losses._logsumexp import STEEP, log_sum_exp
from cl.losses._pairs import ALL, Plan, Rows, Rule, groups
from cl.precision import precise

CPU_BLOCK, GPU_BLOCK = 1024, 4096  # anchors and candidates of a block; 4 MB stay in a cache


@dataclass(frozen=True)
class Scene:
    """The normalised embeddings of a loss: which are anchors, which candidates, which belong.

    Everything that it gives back has a number for each anchor, `(v r)`.
    """

    z: Float[Tensor, "v n d"]
    scale: Float[Tensor, ""]
    most: float  # what the scale is at most; infinite where to know it would be to wait for a GPU
    classes: Int[Tensor, " n"]
    unique: bool  # whether every sample is a class of its own
    anchors: tuple[range, range]  # their views and samples
    candidates: tuple[range, range]
    block: int

    @property
    def q(self) -> Float[Tensor, "a d"]:
        return rearrange(part(self.z, self.anchors), "v r d -> (v r) d")

    @property
    def k(self) -> Float[Tensor, "c d"]:
        return rearrange(part(self.z, self.candidates), "v n d -> (v n) d")

    def plan(self, chosen: Rule, *, mirrored: bool = True) -> Plan:
        """The blocks of pairs that a rule, symmetric in its two, chooses."""
        mirrored = mirrored and self.anchors == self.candidates
        both = [
            groups(views, samples, self.classes, self.unique, self.block)
            for views, samples in (self.anchors, self.candidates)[: 1 if mirrored else 2]
        ]
        return Plan(both[0], both[-1], chosen, mirrored)

    def log_sum_exp(self, chosen: Rule, power: float = 1.0) -> Float[Tensor, "v r"]:
        r"""$\log \sum_j e^{power \cdot s_{ij}}$ over the chosen j; -inf where there are none."""
        steep = self.most * abs(power) > STEEP
        lse = log_sum_exp(self.q, self.k, self.scale * power, self.plan(chosen), steep)
        return rearrange(lse, "(v r) -> v r", v=len(self.anchors[0]))

    def positives(self) -> tuple[Float[Tensor, "v r"], Int[Tensor, "v r"]]:
        """Mean similarity of each anchor to its positives, and how many they are.

        The mean needs no pairs: it is the similarity to the positives' mean.
        """
        views, samples = self.anchors
        own = self.classes[samples.start : samples.stop]
        seen = self.candidates[0]
        sums = reduce(self.z[seen.start : seen.stop], "v n d -> n d", "sum")
        if self.unique:
            group, sizes = sums[samples.start : samples.stop], 1
        else:
            group = torch.zeros_like(sums).index_add(0, self.classes, sums)[own]
            sizes = self.sizes()[own]
        view = torch.arange(views.start, views.stop, device=own.device)
        is_one = rearrange((view >= seen.start) & (view < seen.stop), "v -> v 1")
        anchors = part(self.z, self.anchors)
        number = (len(seen) * sizes - is_one.long()).expand(anchors.shape[:2])
        # Without their sum less the anchor, a tensor as large as the embeddings.
        to_all = (anchors * group).sum(dim=-1)
        to_itself = anchors.square().sum(dim=-1)
        return (to_all - to_itself * is_one) * self.scale / number.clamp(min=1), number

    def sizes(self) -> Int[Tensor, " n"]:
        """How many samples each class has."""
        none = torch.zeros_like(self.classes)  # `bincount` would wait for a GPU
        return none.index_add(0, self.classes, torch.ones_like(none))

    def swapped(self) -> "Scene":
        """Of two views, the second's samples as anchors and the first's as candidates."""
        return replace(
            self,
            anchors=(self.candidates[0], self.anchors[1]),
            candidates=(self.anchors[0], self.candidates[1]),
        )

    def everyone(self) -> "Scene":
        """The same with all samples as anchors, not only this process's."""
        return replace(self, anchors=(self.anchors[0], range(self.z.shape[1])))

    def between_views(self) -> Float[Tensor, "v w r"]:
        """Cosines of each anchor with the candidates of its own sample."""
        own = part(self.z, (self.candidates[0], self.anchors[1]))
        return einsum(part(self.z, self.anchors), own, "v r d, w r d -> v w r")

    def own_positives(self) -> Float[Tensor, "v w r"]:
        """Similarities of each anchor to its sample's other views; -inf to itself."""
        if len(self.anchors[0]) < 2:
            raise ValueError("this loss needs two views of each sample, or more; got one")
        return (self.between_views() * self.scale).masked_fill(~self.other_views(), -torch.inf)

    def other_views(self) -> Bool[Tensor, "v w 1"]:
        """Which of `between_views` are of two embeddings."""
        v, w = (
            torch.arange(of[0].start, of[0].stop, device=self.z.device)
            for of in (self.anchors, self.candidates)
        )
        return rearrange(v, "v -> v 1 1") != rearrange(w, "w -> w 1")

    def of_other_views(self, x: Float[Tensor, "v w r"]) -> Float[Tensor, "p r"]:
        """What `x` has of two different views; a mask would wait for a GPU."""
        pairs = [
            x[i, j]
            for i, v in enumerate(self.anchors[0])
            for j, w in enumerate(self.candidates[0])
            if v != w
        ]
        return torch.stack(pairs) if pairs else x[:0, 0]


def part(z: Float[Tensor, "v n d"], of: tuple[range, range]) -> Float[Tensor, "w r d"]:
    views, samples = of
    return z[views.start : views.stop, samples.start : samples.stop]


def scene(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    *,
    anchor_views: slice = ALL,
    candidate_views: slice = ALL,
    block: int | None = None,
) -> Scene:
    """Normalise embeddings, in float32 at least, and say who is compared with whom.

    Args:
        z: embeddings of every view of every sample, of any length.
        ids: samples with equal ids are positives; by default each sample is its own.
        rows: the samples that are this process's anchors; all of `z` are candidates.
        temperature: a number, or a tensor that learns.
        anchor_views: the views that are anchors, consecutive; all by default.
        candidate_views: the views that are candidates, consecutive; all by default.
        block: anchors and candidates computed with at once; what caches keep, by default.
    """
    v, n, _ = z.shape
    z = F.normalize(precise(z), dim=-1)
    temperature, most = scalar(temperature, z), largest_scale(temperature)
    return Scene(
        z,
        1 / temperature,
        most,
        torch.arange(n, device=z.device) if ids is None else numbered(ids),
        ids is None,
        (range(v)[anchor_views], range(n)[rows]),
        (range(v)[candidate_views], range(n)),
        block or (GPU_BLOCK if z.is_cuda else CPU_BLOCK),
    )


def scalar(x: float | Tensor, like: Tensor) -> Float[Tensor, ""]:
    """A number or a tensor as a tensor of that kind; a number is filled in and not copied."""
    if isinstance(x, Tensor):
        return x.to(like)
    return torch.full((), x, dtype=like.dtype, device=like.device)


def largest_scale(temperature: float | Tensor) -> float:
    """The inverse temperature; infinite if it is on an accelerator, which would be waited for."""
    if isinstance(temperature, Tensor) and temperature.device.type != "cpu":
        return math.inf
    return 1 / abs(float(temperature.detach() if isinstance(temperature, Tensor) else temperature))


def numbered(ids: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Equal ids as equal numbers from 0 on, in their order; `unique` would wait for a GPU."""
    values, order = ids.sort()
    number = F.pad((values[1:] != values[:-1]).cumsum(0), (1, 0))
    return torch.empty_like(order).scatter(0, order, number)


def contrast(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None,
    rows: Rows,
    temperature: float | Float[Tensor, ""],
    pushed: Rule,
    **views_and_block: Any,
) -> Float[Tensor, ""]:
    r"""Mean over anchors of $\log \sum_{j \in N_i} e^{s_{ij}} - \mathrm{mean}_{j \in P_i} s_{ij}$.

    $s_{ij}$ is the cosine over the temperature. An anchor without positives counts as zero, one
    with an empty $N_i$ has no first term. Statistics are in float32, also under autocast; float64
    stays. `scene` says what the other arguments are.

    Args:
        z: see `scene`.
        ids: see `scene`.
        rows: see `scene`.
        temperature: see `scene`.
        pushed: the pairs in the denominator, $N_i$; symmetric in anchor and candidate.
        views_and_block: `anchor_views`, `candidate_views`, `block`.
    """
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature, **views_and_block)
        pull, positives = s.positives()
        return mean_of(s.log_sum_exp(pushed), pull, positives)


def mean_of(
    push: Float[Tensor, "v r"], pull: Float[Tensor, "v r"], positives: Int[Tensor, "v r"]
) -> Float[Tensor, ""]:
    """Mean of push less pull; zero for an anchor without positives, no push where it is -inf."""
    push = push.masked_fill(push == -torch.inf, 0.0)
    return ((push - pull) * (positives > 0)).mean()
