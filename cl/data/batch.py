"""What every loader hands to every method."""

from typing import NamedTuple

from jaxtyping import Float, Int, Shaped
from torch import Tensor


class Batch(NamedTuple):
    """Views of some samples.

    Args:
        views: a tensor `(v n c h w)` for each size of views, normalized; of tokens `(v n l)`.
        labels: below 0 where a sample has none.
        index: the samples' places in their data set.
        global_views: how many of the views, in their order, are of full size; None: those of the
            first tensor.
        scores: how alike the two texts of each pair are, where the data say so.
    """

    views: list[Shaped[Tensor, "_ n ..."]]
    labels: Int[Tensor, " n"]
    index: Int[Tensor, " n"]  # pyright: ignore[reportIncompatibleMethodOverride]
    global_views: int | None = None
    scores: Float[Tensor, " n"] | None = None
