"""What every loader hands to every method."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Batch(NamedTuple):
    """Views of some samples.

    Args:
        views: a tensor `(v n 3 h w)` for each size of views, normalised.
        labels: -1 where a sample has none.
        index: the samples' places in their data set.
    """

    views: list[Float[Tensor, "_ n 3 _ _"]]
    labels: Int[Tensor, " n"]
    index: Int[Tensor, " n"]  # pyright: ignore[reportIncompatibleMethodOverride]
