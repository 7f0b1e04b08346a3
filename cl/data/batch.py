"""What every loader hands to every method."""

from typing import NamedTuple

from jaxtyping import Int, Shaped
from torch import Tensor


class Batch(NamedTuple):
    """Views of some samples.

    Args:
        views: a tensor `(v n c h w)` for each size of views, normalized; of tokens `(v n l)`.
        labels: below 0 where a sample has none.
        index: the samples' places in their data set.
    """

    views: list[Shaped[Tensor, "_ n ..."]]
    labels: Int[Tensor, " n"]
    index: Int[Tensor, " n"]  # pyright: ignore[reportIncompatibleMethodOverride]
