"""Hard negatives, debiased (Robinson et al. 2021, https://arxiv.org/abs/2010.04592, eq. 4)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cl.losses._pairwise import ALL, Rows, scene
from cl.losses._views import over_pairs


def hcl(
    z: Float[Tensor, "v n d"],
    ids: Int[Tensor, " n"] | None = None,
    rows: Rows = ALL,
    *,
    temperature: float | Float[Tensor, ""] = 0.5,  # the paper's
    tau_plus: float = 0.1,  # the authors' code's
    beta: float = 1.0,  # the authors' code's
) -> Float[Tensor, ""]:
    r"""Mean of $-\log(e^{s_p} / (e^{s_p} + N_g))$, the negatives weighted by their hardness.

    $N_g = \max((K \bar n - \tau^+ K e^{s_p}) / (1 - \tau^+), K e^{-1/\tau})$, where $\bar n$ is
    the mean of $n_j = e^{s_{ij}}$ weighted by $n_j^\beta$ over the K embeddings of other ids. In
    the log domain throughout. More than two views: the mean over the pairs of views.

    Args:
        z: see `contrast`.
        ids: samples with equal ids do not push each other; the positive is the own other view.
        rows: see `contrast`.
        temperature: what similarities are divided by.
        tau_plus: the share of the "negatives" that are of the anchor's class.
        beta: how strongly hard negatives count; 0 is the debiased loss.

    Two samples at right angles that agree, temperature 1, no debiasing: log((e + 2) / e).

    >>> z = torch.eye(2).expand(2, 2, 2)
    >>> round(hcl(z, temperature=1.0, tau_plus=0.0, beta=0.0).item(), 4)
    0.5514
    """
    if len(z) > 2:
        settings = {"temperature": temperature, "tau_plus": tau_plus, "beta": beta}
        return over_pairs(lambda *pair: hcl(*pair, **settings), z, ids, rows)
    with torch.autocast(z.device.type, enabled=False):
        s = scene(z, ids, rows, temperature)
        n = z.shape[1]
        count = (2 * (n - s.sizes()[s.classes[rows]])).to(s.z.dtype).expand(2, -1)
        some, count = count > 0, count.clamp(min=1)
        hard = s.log_sum_exp(lambda p: ~p.same_id, 1 + beta)
        easy = s.log_sum_exp(lambda p: ~p.same_id, beta) if beta else count.log()
        raw = (hard - easy).masked_fill(~some, 0.0) + count.log() - math.log1p(-tau_plus)
        pull = s.of_other_views(s.between_views()) * s.scale
        biased = pull + (count * tau_plus).log() - math.log1p(-tau_plus)
        left = raw > biased  # else what is subtracted is more than there is
        gap = (biased - raw).masked_fill(~left, -1.0)
        negatives = raw + torch.log1p(-gap.exp())
        least = count.log() - s.scale
        negatives = torch.where(left, torch.maximum(negatives, least), least)
        return (-F.logsigmoid(pull - negatives) * some).mean()
