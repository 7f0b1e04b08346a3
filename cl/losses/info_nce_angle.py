"""InfoNCE with an additive angular margin: ArcCon of ArcCSE (Zhang et al. 2022, ACL, eq. 5).

https://aclanthology.org/2022.acl-long.336
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene

FLAT = 1e-7  # below it 1 - cos^2 has no gradient: the sine of a tiny angle is all rounding


def info_nce_angle(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.05,  # the paper's
    margin: float = 10.0,  # the paper's
    symmetric: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $-s'_{ip} + \log(e^{s'_{ip}} + \sum_j e^{s_{ij}})$, $s' = \cos(\theta + m) / \tau$.

    j are the other views' other samples; with ids, those of another class. The margin makes a
    positive look farther than it is. It is computed as $\cos\theta \cos m - \sin\theta \sin m$:
    arccos has no gradient where two views agree.

    Args:
        z: see `contrast`.
        ids: samples with equal ids do not push each other.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        margin: m in degrees.
        symmetric: every view has anchors; else only the first, as in the paper.

    Two samples at right angles whose views agree, margin 90, temperature 1: cos 90 = 0, log(1 + 1).

    >>> round(info_nce_angle(torch.eye(2).expand(2, 2, 2), temperature=1.0, margin=90.0).item(), 3)
    0.693
    """
    first = {} if symmetric else {"anchor_views": slice(0, 1), "candidate_views": slice(1, None)}
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature, **first)
        push = s.log_sum_exp(lambda p: ~p.same_view & ~p.same_id)
        cos, m = s.between_views(), math.radians(margin)
        sin = (1 - cos.square()).clamp(min=FLAT).sqrt()
        pull = (cos * math.cos(m) - sin * math.sin(m)) * s.scale
        each = -F.logsigmoid(pull - rearrange(push, "v r -> v 1 r"))
        return s.of_other_views(each).mean()
