"""SimSiam's negative cosine (Chen and He 2020, https://arxiv.org/abs/2011.10566, eq. 1 and 2)."""

from jaxtyping import Float
from torch import Tensor

from cl.losses._defined import mean
from cl.precision import unit


def cosine(p: Float[Tensor, "v n d"], z: Float[Tensor, "v n d"]) -> Float[Tensor, ""]:
    r"""Mean over views and samples of $-\cos(p_{vi}, z_{vi})$, in float32 at least.

    Use it for methods without negatives, which avoid collapse by a predictor and a stop-gradient.

    Args:
        p: `(v, n, d)` predictions.
        z: `(v, n, d)` what each of them should predict; the caller detaches it.

    Returns:
        A scalar from -1, where all agree, to 1.

    Example:
        Two parallel vectors of any length: -1.

        >>> import torch
        >>> cosine(torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[3.0, 0.0]]])).item()
        -1.0

        Equivalent to:

        >>> p, z = torch.randn(2, 2, 4, 8)
        >>> naive = -torch.cosine_similarity(p, z, dim=-1).mean()
        >>> torch.testing.assert_close(cosine(p, z), naive)
    """
    return -mean((unit(p) * unit(z)).sum(dim=-1))


def negatives(views: int, samples: int) -> int:
    """None: a prediction is compared with its own sample only."""
    return 0
