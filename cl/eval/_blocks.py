"""Features in blocks of rows, so that a classifier of a memory map needs the memory of a block."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cl.eval._result import Features
from cl.precision import precise

BLOCK = 2**24  # numbers in a block
KEPT = 2**28  # numbers that are prepared once and kept; of more each pass prepares each block anew


def rows_in_block(*widths: int) -> int:
    """Rows of a block where each row has such numbers of numbers."""
    return max(1, BLOCK // max(widths))


class Blocks:
    """Features and labels, a block of rows at a time, in the order of the rows.

    Where the blocks begin depends on nothing but the numbers of dimensions and classes.

    Args:
        part: features of any floating dtype, which may be mapped from a file, and labels.
        classes: how many there are; what is computed of a block has as many columns.
        scale: what is done to the features, in float32; by default nothing.
        dtype: of what is given.
    """

    def __init__(
        self, part: Features, classes: int, scale: nn.Module | None, dtype: torch.dtype
    ) -> None:
        self.h, self.labels = part
        self.scale, self.dtype = scale or nn.Identity(), dtype
        self.rows = rows_in_block(self.h.shape[1], classes)
        self.kept = list(self.prepared()) if self.h.numel() <= KEPT else []

    def prepared(self) -> Iterator[Features]:
        """Each block anew."""
        for h, labels in zip(self.h.split(self.rows), self.labels.split(self.rows), strict=True):
            yield (
                self.scale(h.to(torch.promote_types(h.dtype, torch.float32))).to(self.dtype),
                labels,
            )

    def __len__(self) -> int:
        """Rows."""
        return len(self.h)

    def __iter__(self) -> Iterator[Features]:
        return iter(self.kept) if self.kept else self.prepared()


def deviation_and_mean(h: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Deviation (of n) and mean of each feature, of a memory map too.

    Those of blocks are put together in float64 (Chan, Golub and LeVeque 1983).
    """
    blocks = h.split(rows_in_block(h.shape[1]))
    parts = [torch.std_mean(precise(rows), dim=0, correction=0) for rows in blocks]
    deviations, means = (torch.stack(each).double() for each in zip(*parts, strict=True))
    share = means.new_tensor([[len(rows) / len(h)] for rows in blocks])
    mean = (share * means).sum(dim=0)
    variance = (share * (deviations.square() + (means - mean).square())).sum(dim=0)
    kind = parts[0][0].dtype
    return variance.sqrt().to(kind), mean.to(kind)
