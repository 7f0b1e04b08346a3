"""What the methods of single pairs share: two views of a sample, and negatives from the batch."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, Mining, Width
from cl.distributed import gather
from cl.losses._views import view_target_pairs
from cl.methods._base import Method
from cl.nets.heads import each_view
from cl.precision import unit


class PairMethod(Method):
    """Two views of a sample belong together, views of two samples of the batch do not.

    Every view is an anchor, each other full-size view of its sample a positive. Embeddings have
    length 1, as in FaceNet (Schroff et al. 2015, https://arxiv.org/abs/1503.03832).

    Args:
        encoder: see `Method`.
        loss: of pairs or triplets, see `compare` of the method.
        mining: which other samples of the whole batch are an anchor's negatives: all of them
            (memory grows with the square of the batch), the nearest one (hard), or the nearest of
            those that are farther than the positive (semi_hard; the farthest if none is)
        hidden_mlp: width of the projector's hidden layer; 0 is no projector, the default for texts
        encoding_size: dimensions of the embedding (128 in FaceNet)
        base: what `Method` takes.
    """

    whole_batch = False  # whether the anchors are the samples of all processes

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor],
        *,
        mining: Mining = "all",
        hidden_mlp: Width = 2048,
        encoding_size: Count = 128,
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, **base)
        self.projector = (
            self.build_projector(hidden_mlp, encoding_size) if hidden_mlp else nn.Identity()
        )
        self.mining: Mining = mining

    @abstractmethod
    def compare(
        self, a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
    ) -> Float[Tensor, ""]:
        """The loss of anchors, the positive of each, and the k negatives of each."""

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(each_view(self.projector, h))
        z = unit(z)
        rows = slice(None) if self.whole_batch else rows
        losses = [
            self.compare(z[v, rows], z[w, rows], mine_negatives(z[v], z[w], rows, self.mining))
            for v, w in view_target_pairs(len(z), self.global_views)
        ]
        return torch.stack(losses).mean()


def mine_negatives(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], rows: slice, mining: Mining
) -> Float[Tensor, "r k d"]:
    """The negatives of anchors among another view's embeddings of the other samples.

    Args:
        a: embeddings of the anchors' view, of all processes; `rows` of them are anchors.
        b: embeddings of the other view.
        rows: see `a`.
        mining: see `PairMethod`.

    Raises:
        ValueError: there is only one sample.
    """
    number = len(b)
    if number < 2:
        raise ValueError("a batch of one sample has no negatives; use a larger --batch_size")
    own = torch.arange(number, device=b.device)[rows, None]
    others = (own + torch.arange(1, number, device=b.device)) % number
    if mining == "all":
        return b[others]
    with torch.no_grad(), torch.autocast(b.device.type, enabled=False):
        similarity = a[rows] @ b.T
        score, positive = similarity.gather(1, others), similarity.gather(1, own)
        if mining == "semi_hard":
            farther = score < positive
            semi_hard = score.masked_fill(~farther, -torch.inf)
            score = torch.where(farther.any(dim=1, keepdim=True), semi_hard, -score)
        chosen = others.gather(1, score.argmax(dim=1, keepdim=True))
    return b[chosen]


def scored_pairs(
    a: Float[Tensor, "r d"], p: Float[Tensor, "r d"], n: Float[Tensor, "r k d"]
) -> tuple[Float[Tensor, "2 m d"], Float[Tensor, " m"]]:
    """Both sides of all pairs, the positive ones first, and their scores: 1 or 0."""
    anchors = a[:, None].expand_as(n).flatten(0, 1)
    z = torch.stack([torch.cat([a, anchors]), torch.cat([p, n.flatten(0, 1)])])
    return z, torch.cat([a.new_ones(len(a)), a.new_zeros(len(anchors))])
