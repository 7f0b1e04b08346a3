"""Multiple negatives ranking: in-batch and hard negatives for retrieval.

Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4; the joint form is GTE's (Li et
al. 2023, https://arxiv.org/abs/2308.03281, eq. 3).
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairs import Answer, Pairs
from cl.losses._pairwise import ALL, Rows, scene


def mnrl(
    z: Float[Tensor, "s n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.05,  # the scale 20 of sentence-transformers
    joint: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$, i a query, j any document, p the right one.

    Args:
        z: s sides, not views of a sample: queries, their documents, then for each query any number
            of hard negatives.
        ids: other samples of an equal id are not pushed (duplicates are no negatives).
        rows: the samples that are this process's queries.
        temperature: what similarities are divided by.
        joint: the document is an anchor too: queries and documents all in one denominator.

    Two queries at right angles that are their documents, temperature 1: log(e + 1) - 1.

    >>> round(mnrl(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
    0.3133
    """

    def pushed(p: Pairs) -> Answer:
        allowed = p.same_sample | ~p.same_id
        if not joint:
            return allowed
        one_side = (rearrange(p.a.view, "a -> a 1") == 0) == (p.c.view == 0)
        return allowed & ~(Answer(one_side) & p.same_sample)

    views = (slice(0, 2), ALL) if joint else (slice(0, 1), slice(1, None))
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature, anchor_views=views[0], candidate_views=views[1])
        push = s.log_sum_exp(pushed).logsumexp(dim=0)
        pull = (s.z[0, rows] * s.z[1, rows]).sum(dim=-1) * s.scale
        return (push - pull).mean()
