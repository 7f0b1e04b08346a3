r"""Measures of rankings as trec_eval defines them: recall, success, precision, MRR, nDCG and MAP.

All take two arguments. `ranked` `(q r)` holds the grades of the documents that were found for each
query, the first first, 0 for one without a judgment. `judgments` `(q j)` holds the grades of
all its relevance judgments, in any order, filled up with 0. A document is relevant if its
grade is above 0. A query without a relevant document scores 0.

>>> ranked, judgments = torch.tensor([[0, 2, 0, 1]]), torch.tensor([[1, 2, 1]])
>>> mrr_at(ranked, judgments, 10).tolist(), recall_at(ranked, judgments, 2).tolist()
([0.5], [0.3333333333333333])
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Grades = Int[Tensor, "q _"]
Scores = Float[Tensor, " q"]


def recall_at(ranked: Grades, judgments: Grades, k: int) -> Scores:
    """Share of the relevant documents that are among the first k."""
    return (ranked[:, :k] > 0).sum(dim=1).double() / relevant(judgments)


def success_at(ranked: Grades, judgments: Grades, k: int) -> Scores:
    """1 if a relevant document is among the first k, else 0: Recall@k of images and captions.

    >>> success_at(torch.tensor([[0, 1, 1]]), torch.tensor([[1, 1, 1]]), 2).tolist()
    [1.0]
    """
    return (ranked[:, :k] > 0).any(dim=1).double() * (judgments > 0).any(dim=1)


def precision_at(ranked: Grades, judgments: Grades, k: int) -> Scores:
    """Share of the first k places that hold a relevant document; a place left empty holds none."""
    return (ranked[:, :k] > 0).sum(dim=1).double() / k


def mrr_at(ranked: Grades, judgments: Grades, k: int) -> Scores:
    """Reciprocal rank of the first relevant document, 0 if it is not among the first k."""
    hit = (ranked[:, :k] > 0).double()
    return (hit / ranks(hit)).amax(dim=1) if hit.shape[1] else hit.sum(dim=1)


def ndcg_at(ranked: Grades, judgments: Grades, k: int) -> Scores:
    r"""Discounted gain $\sum_i g_i / \log_2(i + 1)$ of the first k over that of the best ranking.

    The gain is the grade itself (Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418),
    as in trec_eval and BEIR, and not $2^g - 1$; a grade below 0 gains nothing.
    """
    best = judgments.sort(dim=1, descending=True).values
    gain, most = (discounted(grades[:, :k].clamp(min=0)) for grades in (ranked, best))
    return gain / most.where(most > 0, 1)


def average_precision(ranked: Grades, judgments: Grades) -> Scores:
    """Precision at each relevant document that was found, summed, over the relevant documents.

    Its mean over queries is MAP.
    """
    hit = (ranked > 0).double()
    return (hit.cumsum(dim=1) / ranks(hit) * hit).sum(dim=1) / relevant(judgments)


def relevant(judgments: Grades) -> Int[Tensor, " q"]:
    """How many documents are relevant, at least 1, so that none gives a share of 0."""
    return (judgments > 0).sum(dim=1).clamp(min=1)


def ranks(of: Float[Tensor, "q r"]) -> Float[Tensor, " r"]:
    """1, 2, 3, ..., one for each place."""
    return torch.arange(1, of.shape[1] + 1, device=of.device, dtype=torch.float64)


def discounted(gain: Grades) -> Scores:
    """Sum of the gains, each divided by the logarithm of its rank."""
    gain = gain.double()
    return (gain / (ranks(gain) + 1).log2()).sum(dim=1)


def grades_of(
    found: Int[Tensor, "q r"],
    queries: Int[Tensor, " j"],
    documents: Int[Tensor, " j"],
    grades: Int[Tensor, " j"],
) -> tuple[Grades, Grades]:
    """What the measures take, from what was found and a list of judgments.

    Args:
        found: the documents of each query, the first first; below 0 where there is none.
        queries: number of each judgment's query, at most one judgment a query and document.
        documents: number of its document.
        grades: of the relevance judgments.

    Returns:
        `ranked` `(q r)` and `judgments` `(q j)`.

    >>> found, one = torch.tensor([[3, 1], [1, 0]]), torch.ones(2, dtype=torch.long)
    >>> ranked, judgments = grades_of(found, torch.tensor([0, 0]), torch.tensor([1, 2]), one)
    >>> ranked.tolist(), judgments.tolist()
    ([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    """
    number = len(found)
    order = queries.argsort(stable=True)
    queries, documents, grades = queries[order], documents[order], grades[order]
    counts = queries.bincount(minlength=number)
    place = torch.arange(len(queries), device=found.device) - (counts.cumsum(0) - counts)[queries]
    judgments = grades.new_zeros(number, int(counts.amax()) if number else 0)
    judgments[queries, place] = grades
    if not len(queries):
        return torch.zeros_like(found), judgments
    width = int(torch.maximum(found.amax(), documents.amax())) + 1 if found.numel() else 1
    keys, at = (queries * width + documents).sort()
    asked = torch.arange(number, device=found.device)[:, None] * width + found
    near = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
    return grades[at][near] * ((keys[near] == asked) & (found >= 0)), judgments
