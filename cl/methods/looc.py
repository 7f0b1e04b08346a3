"""Leave-one-out contrast (Xiao et al. 2021, https://arxiv.org/abs/2008.05659): LooC."""

from collections.abc import Callable
from typing import Any

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.distributed import gather
from cl.methods.base import Method
from cl.nets.heads import each_view, mlp


class LooC(Method):
    """One embedding space that no change of a view is seen in, and for each kind one that keeps it.

    The projectors are MoCo v2's, which the paper builds on: no BatchNorm.

    Args:
        encoder: see `Method`.
        loss: of `(s v n d)` embeddings and rows: `cl.losses.looc.looc`, whose views these are.
        left_out: how many kinds of change have a space of their own.
        hidden: width of the projectors' hidden layer (2048 in the paper).
        dim: of the embeddings (128 in the paper).
        base: what `Method` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor],
        *,
        left_out: int,
        hidden: int = 2048,
        dim: int = 128,
        **base: Any,
    ) -> None:
        super().__init__(encoder, **base)
        width = self.probe.linear.in_features
        self.projector = mlp(width, hidden, dim, norm=False)
        self.others = nn.ModuleList(mlp(width, hidden, dim, norm=False) for _ in range(left_out))
        self.loss = loss

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        spaces = [each_view(head, h) for head in (self.projector, *self.others)]
        z, rows = gather(rearrange(spaces, "s v n d -> (s v) n d"))
        return self.loss(rearrange(z, "(s v) n d -> s v n d", s=len(spaces)), rows)
