"""What a loss is at the edges: one rule for all losses.

- A mean over nothing is 0 and has a gradient of 0: over no samples, no local anchors, no positives.
- A row of zeros has no direction: its cosines are 0, and it gets no gradient (`cl.precision.unit`).
- What is not a number stays so: one row of NaN makes the loss NaN.
- What a formula has no value for is a ValueError: a temperature that is not above 0, one view where
  views of a sample are compared, one sample where its variance is needed.
"""

from jaxtyping import Float
from torch import Tensor


def mean(x: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The mean of all values; of none it is 0, with a gradient of 0."""
    return x.mean() if x.numel() else x.sum()


def require_positive(**numbers: float | Tensor | None) -> None:
    """Refuse options that must be above 0 and are not.

    Args:
        numbers: by the option's name. A tensor on an accelerator is not read, which would
            synchronize it; None is left alone.

    Raises:
        ValueError: one is 0, below or NaN.
    """
    for name, number in numbers.items():
        unread = isinstance(number, Tensor) and number.device.type != "cpu"
        if number is not None and not unread and not bool(number > 0):
            raise ValueError(f"{name} must be above 0, not {float(number):g}")


def require_views(z: Float[Tensor, "v n d"], exactly: int | None = None) -> None:
    """Refuse embeddings of too few views.

    Args:
        z: embeddings of v views, or sides of a pair or triplet.
        exactly: how many there must be; None: two or more.

    Raises:
        ValueError: there are fewer, or not exactly so many.
    """
    if exactly and len(z) != exactly:
        raise ValueError(f"the first axis of z must have length {exactly}, not {len(z)}")
    if len(z) < 2:
        raise ValueError(f"this loss needs two views of each sample, or more; got {len(z)}")


def require_samples(z: Float[Tensor, "v n d"]) -> None:
    """Refuse a single sample, which has no variance.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if z.shape[1] < 2:
        raise ValueError(
            f"this loss needs two samples or more for their variance; got {z.shape[1]}"
        )
