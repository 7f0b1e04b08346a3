"""Semantic textual similarity: whether the cosine ranks pairs of sentences as people do."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.bounds import Count
from cl.eval._result import EvalResult
from cl.measures import spearman

NUMBERS = ("spearman",)


def sts(
    sentences: Float[Tensor, "n d"],
    others: Float[Tensor, "n d"],
    scores: Float[Tensor, " n"],
    *,
    bootstrap: Count = 1000,
    seed: int = 0,
) -> EvalResult:
    """Spearman correlation of the cosine of two sentences with the score people gave them.

    Equal values have the mean of their ranks, as in scipy and SentEval. It is of all pairs at once
    (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084, 4.1).

    Args:
        sentences: the features of the first sentence of each pair.
        others: those of the second.
        scores: of the pairs.
        bootstrap: resamples of the pairs, between whose 2.5 and 97.5 percentiles the interval is
        seed: of the resamples.

    Returns:
        `spearman` with its 95 % interval.

    Raises:
        ValueError: all scores or all cosines are equal, so that nothing is ranked.
    """
    cosines = F.cosine_similarity(sentences.double(), others.double()).cpu().numpy()
    given = scores.double().cpu().numpy()
    for what, values in (("scores", given), ("cosines", cosines)):
        if np.ptp(values) == 0:
            raise ValueError(f"all {len(values):,} {what} are equal, so that nothing is ranked")
    rng, again = np.random.default_rng(seed), []
    for _ in range(bootstrap):
        chosen = rng.integers(len(given), size=len(given))
        if np.ptp(given[chosen]) and np.ptp(cosines[chosen]):
            again.append(spearman(cosines[chosen], given[chosen]))
    span = [float(bound) for bound in np.percentile(again, (2.5, 97.5))]
    numbers = {"spearman": spearman(cosines, given), "spearman_95": span}
    return EvalResult(numbers, how={"similarity": "cosine", "scored_pairs": len(given)})
