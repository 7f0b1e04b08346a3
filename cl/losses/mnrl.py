"""Multiple negatives ranking: in-batch and hard negatives for retrieval.

Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4; the joint form is GTE's (Li et
al. 2023, https://arxiv.org/abs/2308.03281, eq. 3).
"""

from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from cl.bounds import Positive
from cl.losses._defined import mean, require_views
from cl.losses._pairs import Denominator, PairMask, Pairs
from cl.losses._pairwise import ALL, Rows, compare, log_odds, whole_loss
from cl.losses._whole import with_one_positive
from cl.precision import without_autocast


def mnrl(
    z: Float[Tensor, "s n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: Positive | Float[Tensor, ""] = 0.05,  # the scale 20 of sentence-transformers
    joint: bool = False,
) -> Float[Tensor, ""]:
    r"""Mean of $-s_{ip} + \log \sum_j e^{s_{ij}}$, i a query, j any document, p the right one.

    Use it for retrieval, where queries and documents are encoded apart and hard negatives may be
    given.

    Args:
        z: `(s, n, d)` embeddings of s sides, not views: queries, their documents, then any number
            of hard negatives for each query.
        ids: other samples with an equal id are no negatives, such as duplicates.
        rows: the slice of samples that are this process's queries.
        temperature: divides the cosines.
        joint: documents are anchors too, and queries and documents share one denominator.

    Returns:
        The mean over the local queries, a scalar.

    Example:
        Two queries at right angles that are their documents, temperature 1: log(e + 1) - 1.

        >>> round(mnrl(torch.eye(2).expand(2, 2, 2), temperature=1.0).item(), 4)
        0.3133

        Equivalent, here with one hard negative per query, to:

        >>> z = torch.nn.functional.normalize(torch.randn(3, 4, 8), dim=-1)
        >>> logits = z[0] @ z[1:].flatten(0, 1).T / 0.05
        >>> naive = torch.nn.functional.cross_entropy(logits, torch.arange(4))
        >>> torch.testing.assert_close(mnrl(z), naive)
    """

    def denominator(pairs: Pairs) -> PairMask:
        allowed = pairs.same_sample | ~pairs.same_id
        if not joint:
            return allowed
        is_query = rearrange(pairs.anchors.view, "a -> a 1") == 0
        same_side = PairMask(is_query == (pairs.candidates.view == 0))
        return allowed & ~(same_side & pairs.same_sample)

    def document(pairs: Pairs) -> PairMask:
        if len(pairs.candidates.views) == 1:
            return pairs.same_sample & PairMask(pairs.candidates.views.start == 1)
        return pairs.same_sample & PairMask(rearrange(pairs.candidates.view, "c -> 1 c") == 1)

    require_views(z)
    anchor_views, candidate_views = (slice(0, 2), ALL) if joint else (slice(0, 1), slice(1, None))
    views = {"anchor_views": anchor_views, "candidate_views": candidate_views}
    with without_autocast(z):
        if not joint:
            alone = ids is None and len(z) == 2  # it is InfoNCE, of queries and documents
            choose = None if alone else partial(with_one_positive, denominator, document)
            all_others = Denominator("all", positives=True)
            whole = whole_loss(z, ids, rows, temperature, all_others, choose=choose, **views)
            if whole is not None:
                return whole
        context = compare(z, ids, rows, temperature, **views)
        # Joint, a query's own document is in the sum twice, so that the loss is log 2 or more.
        single = torch.full((1, len(context.anchors[1])), not joint, device=z.device)
        if joint:
            lse, dominated = context.log_sum_exp(denominator).logsumexp(dim=0)[None], single
        else:
            lse, dominated = context.log_denominator(denominator, single, document)
        positive = (context.z[0, rows] * context.z[1, rows]).sum(dim=-1) * context.scale
        return mean(log_odds(lse, dominated, positive[None]))


def negatives(views: int, samples: int) -> int:
    """The documents and hard negatives of every other query."""
    return (views - 1) * (samples - 1)
