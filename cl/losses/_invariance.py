"""ReLIC's invariance penalty, without the matrix of similarities."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from cl.losses._pairwise import Scene


def invariance(s: Scene) -> Float[Tensor, ""]:
    r"""Mean of $KL(q_i \| r_i)$, $r_{ij} \propto e^{l_{ij}}$ and $q_{ij} \propto e^{l_{ji}}$.

    $l_{ij}$ is the similarity of anchor i of the first view to candidate j of the second. The sum
    over j of $q_{ij} \log q_{ij}$ is, but for a log-sum-exp, the similarity of the candidate to the
    q-weighted mean of the anchors; so it is attention, which torch computes in blocks.

    Args:
        s: a scene of two views, anchors in the first and candidates in the second.
    """
    u, v = s.z
    rows = slice(s.anchors[1].start, s.anchors[1].stop)
    anchors, own = u[rows], v[rows]
    of_u, of_v = (attended(own * s.scale, u, value) for value in (u, v))
    row = s.log_sum_exp(lambda p: p.everything)[0]
    column = s.swapped().log_sum_exp(lambda p: p.everything)[0]
    return ((own * of_u - anchors * of_v).sum(dim=-1) * s.scale - column + row).mean()


def attended(
    query: Float[Tensor, "r d"], key: Float[Tensor, "n d"], value: Float[Tensor, "n d"]
) -> Float[Tensor, "r d"]:
    """Each query's mean of the values, weighted by the softmax of its similarity to the keys."""
    q, k, v = (rearrange(t, "n d -> 1 1 n d") for t in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[0, 0]
