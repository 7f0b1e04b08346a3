"""Leave-one-out contrast (Xiao et al. 2021, https://arxiv.org/abs/2008.05659): LooC."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count
from cl.data.augment.recipe import Recipe
from cl.distributed import gather
from cl.losses.looc import looc
from cl.methods._base import Method
from cl.nets.heads import each_view, mlp


class LooC(Method):
    """One embedding space that no change of a view is seen in, and for each kind one that keeps it.

    The projectors are MoCo v2's, which the paper builds on: no BatchNorm; its
    optimizer and rate are MoCo's too.

    Args:
        encoder: see `Method`.
        loss: of `(s v n d)` embeddings and rows: LooC's, whose views these are.
        left_out: changes that have an embedding space in which they are kept, and a view each
        hidden_mlp: width of the projectors' hidden layer (2048 in the paper)
        encoding_size: dimensions of the embedding (128 in the paper)
        base: what `Method` takes.
    """

    defaults: ClassVar = {"lr": 0.03, "scheduler": "cosine"}

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = looc,
        *,
        left_out: tuple[Literal["crop", "flip", "color", "blur", "solarize"], ...] = (
            "crop",
            "color",
        ),
        hidden_mlp: Count = 2048,
        encoding_size: Count = 128,
        **base: Any,
    ) -> None:
        super().__init__(encoder, loss, **base)
        self.projector = self.build_projector(hidden_mlp, encoding_size)
        heads = (self.build_projector(hidden_mlp, encoding_size) for _ in left_out)
        self.others = nn.ModuleList(heads)

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, encoding_size, norm=False)

    @classmethod
    def views(
        cls, recipes: list[Recipe], *, left_out: Sequence[str] = (), **_: Any
    ) -> list[Recipe]:
        """Two full-size views, and one more for each kind of change that shares it with the first.

        Raises:
            ValueError: a kind is named twice, or these views do not differ in it.
        """
        if len(set(left_out)) < len(left_out):
            raise ValueError(f"--left_out {' '.join(left_out)} names a change twice.")
        if sum(recipe.views for recipe in recipes) > 2:
            raise ValueError("--n_crops must be 2 with --method looc: --left_out adds views.")
        varied = recipes[0].varied
        if idle := {*left_out} - {*varied}:
            raise ValueError(
                f"--left_out {' '.join(sorted(idle))} does not vary in these views; choose from "
                f"{', '.join(varied)}."
            )
        return recipes + [recipes[0].changed({"views": 1, "shared": (kind,)}) for kind in left_out]

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        spaces = [each_view(head, h) for head in (self.projector, *self.others)]
        z, rows = gather(rearrange(spaces, "s v n d -> (s v) n d"))
        return self.loss(rearrange(z, "(s v) n d -> s v n d", s=len(spaces)), rows)
