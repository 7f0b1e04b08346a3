"""Tensors as they were, to be put back where a flag says so."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor


class Kept:
    """Copies of tensors, which stay in place; on a GPU a few kernels and not one for each tensor.

    Args:
        tensors: of one device, each dense; what they hold may change, their shapes may not.

    >>> x = torch.arange(3.0)
    >>> kept = Kept([x])
    >>> x += 1
    >>> kept.put_back(torch.tensor(False))
    >>> x.tolist()
    [1.0, 2.0, 3.0]
    >>> kept.put_back()
    >>> x.tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        kinds = dict.fromkeys(t.dtype for t in tensors)
        self.parts = [[t.detach() for t in tensors if t.dtype == kind] for kind in kinds]
        self.flat = [part[0].new_empty(sum(t.numel() for t in part)) for part in self.parts]
        self.keep()

    def keep(self) -> None:
        """Copy the tensors as they are now."""
        for part, flat in zip(self.parts, self.flat, strict=True):
            copy(pieces(flat, part), part)

    def put_back(self, where: Tensor | None = None) -> None:
        """Put the copies back.

        Args:
            where: a flag on the tensors' device, which is not read; nothing changes if it is False.
                None: put them back.
        """
        for part, flat in zip(self.parts, self.flat, strict=True):
            then = flat
            if where is not None:
                now = torch.empty_like(flat)
                copy(pieces(now, part), part)
                then = torch.where(where, flat, now)
            copy(part, pieces(then, part))


def copy(to: Sequence[Tensor], of: Sequence[Tensor]) -> None:
    """Copy tensors into others of their shapes."""
    torch._foreach_copy_(list(to), list(of))  # pyright: ignore[reportPrivateImportUsage]


def pieces(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A flat tensor as tensors of these shapes, laid out in memory as they are."""
    cuts = pairwise(accumulate((t.numel() for t in like), initial=0))
    return [
        flat[a:b].as_strided(t.size(), t.stride(), a) for (a, b), t in zip(cuts, like, strict=True)
    ]
