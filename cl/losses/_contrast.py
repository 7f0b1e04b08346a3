"""What the softmax losses share: anchors pull their positives and push a chosen set of pairs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cl.losses._log_sum_exp import log_sum_exp
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
        lse = log_sum_exp(self.q, self.k, self.scale * power, self.plan(chosen))
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
        is_one = torch.tensor([view in seen for view in views], device=own.device)
        is_one = rearrange(is_one, "v -> v 1")
        anchors = part(self.z, self.anchors)
        number = (len(seen) * sizes - is_one.long()).expand(anchors.shape[:2])
        # Without their sum less the anchor, a tensor as large as the embeddings.
        to_all = (anchors * group).sum(dim=-1)
        to_itself = anchors.square().sum(dim=-1)
        return (to_all - to_itself * is_one) * self.scale / number.clamp(min=1), number

    def sizes(self) -> Int[Tensor, " n"]:
        """How many samples each class has."""
        return torch.bincount(self.classes, minlength=self.z.shape[1])

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
        anchors, candidates = self.anchors[0], self.candidates[0]
        different = [[v != w for w in candidates] for v in anchors]
        return rearrange(torch.tensor(different, device=self.z.device), "v w -> v w 1")


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
    sample = torch.arange(n, device=z.device)
    return Scene(
        z,
        1 / torch.as_tensor(temperature, dtype=z.dtype, device=z.device),
        sample if ids is None else ids.unique(return_inverse=True)[1],
        ids is None,
        (range(v)[anchor_views], range(n)[rows]),
        (range(v)[candidate_views], range(n)),
        block or (GPU_BLOCK if z.is_cuda else CPU_BLOCK),
    )


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
