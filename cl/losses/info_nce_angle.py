"""InfoNCE with an additive angular margin: ArcCon of ArcCSE (Zhang et al. 2022, ACL).

https://aclanthology.org/2022.acl-long.336
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_views
from cl.losses._pairs import Denominator
from cl.losses._pairwise import ALL, Rows, compare, whole_loss
from cl.precision import without_autocast


def info_nce_angle(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.05,  # the paper's
    margin: float = 10.0,  # the paper's
    symmetric: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $-s'_{ip} + \log(e^{s'_{ip}} + \sum_j e^{s_{ij}})$, $s' = \cos(\theta + m) / \tau$.

    Negatives j are the other samples in the other views. Use it when positives agree too easily:
    the margin m is added to the angle of every positive pair. It is computed as
    $\cos\theta \cos m - \sin\theta \sin m$ with $\sin\theta = |u - v| |u + v| / 2$, as arccos has
    no gradient where two views agree.

    Args:
        z: see `cl.losses`; two views or more.
        ids: samples with equal ids are no negatives; positives are the sample's own other views.
        rows: see `cl.losses`.
        temperature: divides the cosines.
        margin: the angle added to that of a positive pair, in degrees.
        symmetric: every view is an anchor; otherwise only the first, as in the paper.

    Returns:
        The mean over the local positive pairs, a scalar.

    Example:
        Two samples at right angles whose views agree, margin 90, temperature 1: the positive is
        cos 90 = 0, so log(1 + 1).

        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> round(info_nce_angle(z, temperature=1.0, margin=90.0).item(), 3)
        0.693

        Equivalent, for two views, to:

        >>> u, v = F.normalize(torch.randn(2, 4, 8), dim=-1)
        >>> cosine, angle = u @ v.T, (u * v).sum(1).acos() + math.radians(10)
        >>> logits = cosine.diagonal_scatter(angle.cos()) / 0.05
        >>> naive = F.cross_entropy(logits, torch.arange(4))
        >>> torch.testing.assert_close(info_nce_angle(torch.stack([u, v])), naive)
    """
    require_views(z)
    one_way = {"anchor_views": slice(0, 1), "candidate_views": slice(1, None)}
    views = {} if symmetric else one_way
    with without_autocast(z):
        if ids is None and len(z) == 2:
            whole = whole_loss(
                z,
                None,
                rows,
                temperature,
                Denominator("other", positives=True),
                adjust=partial(farther, math.radians(margin), rows),
                margin=math.radians(margin),
                **views,
            )
            if whole is not None:
                return whole
        context = compare(z, ids, rows, temperature, **views)
        negative = context.log_sum_exp(Denominator("other", positives=False))
        cos, m = context.own_cosines(), math.radians(margin)
        # Of unit vectors; the root of 1 - cos^2 would be rounding noise where two views agree.
        sines = [(u - w).norm(dim=-1) * (u + w).norm(dim=-1) / 2 for u, w in context.own_pairs()]
        sin = torch.stack(sines)
        cos, negative = (
            context.select_other_views(x)
            for x in (cos, rearrange(negative, "v r -> v 1 r").expand_as(cos))
        )
        positive = (cos * math.cos(m) - sin * math.sin(m)) * context.scale
        return mean(-F.logsigmoid(positive - negative))


def farther(
    margin: float,
    rows: Rows,
    u: Float[Tensor, "2 n d"],
    positive: Float[Tensor, "v r"],
    scale: float | Float[Tensor, ""],
) -> tuple[Float[Tensor, "v r"], Float[Tensor, "v r"]]:
    """The similarities to the positives with the margin, and their derivatives by those without.

    Two views that agree have no direction to move apart in.
    """
    one, other = u[:, rows]
    sin = (one - other).norm(dim=-1) * (one + other).norm(dim=-1) / 2
    cos = positive / scale
    slope = math.cos(margin) + (cos / sin).where(sin > 0, 0.0) * math.sin(margin)
    return (cos * math.cos(margin) - sin * math.sin(margin)) * scale, slope


def negatives(views: int, samples: int) -> int:
    """Every other sample in each of the other views."""
    return (views - 1) * (samples - 1)
