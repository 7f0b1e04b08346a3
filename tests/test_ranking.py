"""Ranking measures against plain loops in float64, and against trec_eval where it is installed."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from cl import ranking

CUTS = (1, 3, 5, 10, 100)
Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]


def naive(ranked: list[int], judged: list[int], k: int) -> dict[str, float]:
    """All measures of one query: grades in the order of the ranks, and of all judged documents."""
    relevant = sum(g > 0 for g in judged)
    first = ranked[:k]
    best = sorted(judged, reverse=True)[:k]

    def gain(grades: list[int]) -> float:
        return math.fsum(max(g, 0) / math.log2(r) for r, g in enumerate(grades, 2))

    precisions = [
        sum(g > 0 for g in ranked[: r + 1]) / (r + 1) for r, g in enumerate(ranked) if g > 0
    ]
    return {
        f"recall_{k}": sum(g > 0 for g in first) / relevant if relevant else 0.0,
        f"P_{k}": sum(g > 0 for g in first) / k,
        f"mrr_{k}": next((1 / r for r, g in enumerate(first, 1) if g > 0), 0.0),
        f"ndcg_cut_{k}": gain(first) / gain(best) if gain(best) else 0.0,
        "map": math.fsum(precisions) / relevant if relevant else 0.0,
    }


def ours(ranked: torch.Tensor, judged: torch.Tensor, k: int) -> dict[str, list[float]]:
    found = {
        f"recall_{k}": ranking.recall_at(ranked, judged, k),
        f"P_{k}": ranking.precision_at(ranked, judged, k),
        f"mrr_{k}": ranking.mrr_at(ranked, judged, k),
        f"ndcg_cut_{k}": ranking.ndcg_at(ranked, judged, k),
        "map": ranking.average_precision(ranked, judged),
    }
    assert all(values.dtype == torch.float64 for values in found.values())
    return {name: values.tolist() for name, values in found.items()}


def made(seed: int, lowest: int) -> tuple[Qrels, Run]:
    """Judgments and a run: grades, ties, queries without judgments, or relevant ones, or a find."""
    rng = np.random.default_rng(seed)
    names = [f"d{i}" for i in rng.permutation(120)]
    qrels: Qrels = {}
    run: Run = {}
    for q in range(30):
        judged = rng.choice(names, rng.integers(1, 40), replace=False)
        qrels[f"q{q}"] = {d: int(rng.integers(lowest, 4)) for d in judged}
        found = rng.choice(names, rng.integers(1, 120), replace=False)
        run[f"q{q}"] = {d: float(rng.integers(0, 8)) / 4 for d in found}
    qrels["q0"] = dict.fromkeys(qrels["q0"], 0)
    run["q1"] = {}
    qrels["q2"] = dict.fromkeys(names[:3], 1)
    run["q2"] = dict.fromkeys(names[3:9], 1.0)
    return qrels, run


def as_tensors(qrels: Qrels, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """`ranked` and `judged` by way of `grades_of`, the judgments in any order."""
    names = sorted({d for part in (*qrels.values(), *run.values()) for d in part})
    at = {d: i for i, d in enumerate(names)}
    width = max(map(len, run.values()))
    found = torch.full((len(run), width), -1)
    for i, scores in enumerate(run.values()):
        order = sorted(scores, key=lambda d: (scores[d], d), reverse=True)
        found[i, : len(order)] = torch.tensor([at[d] for d in order], dtype=torch.long)
    triples = [(i, at[d], g) for i, q in enumerate(run) for d, g in qrels[q].items()]
    shuffled = torch.tensor(triples)[torch.randperm(len(triples))]
    return ranking.grades_of(found, *shuffled.unbind(dim=1))


@pytest.mark.parametrize("lowest", [0, -2])
@pytest.mark.parametrize("k", CUTS)
def test_measures_are_their_loops(k: int, lowest: int) -> None:
    qrels, run = made(k, lowest)
    found = ours(*as_tensors(qrels, run), k)
    for i, (q, scores) in enumerate(run.items()):
        order = sorted(scores, key=lambda d: (scores[d], d), reverse=True)
        expected = naive([qrels[q].get(d, 0) for d in order], [*qrels[q].values()], k)
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, abs=1e-12), (q, name)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lowest", [0, -1])  # below that trec_eval reads what is not there
def test_measures_are_those_of_trec_eval(seed: int, lowest: int) -> None:
    trec: Any = pytest.importorskip("pytrec_eval")
    qrels, run = made(seed, lowest)
    cuts = ",".join(map(str, CUTS))
    wanted = {f"recall.{cuts}", f"P.{cuts}", f"ndcg_cut.{cuts}", "map", "recip_rank"}
    expected = trec.RelevanceEvaluator(qrels, wanted).evaluate(run)
    tensors = as_tensors(qrels, run)
    for k in CUTS:
        found = ours(*tensors, k)
        reciprocal = found.pop(f"mrr_{k}")
        for i, q in enumerate(run):
            for name, values in found.items():
                assert values[i] == pytest.approx(expected[q][name], abs=1e-9), (q, name)
            whole = expected[q]["recip_rank"]  # trec_eval's has no cut
            assert reciprocal[i] == pytest.approx(whole if whole * k > 1 - 1e-9 else 0, abs=1e-9)


def test_without_queries_or_finds() -> None:
    none = torch.zeros(0, 0, dtype=torch.long)
    assert ours(none, none, 10)["map"] == []
    found, judged = ranking.grades_of(none.view(2, 0), *(torch.zeros(3, 1).long()))
    assert ours(found, judged, 10) == {name: [0.0, 0.0] for name in ours(found, judged, 10)}
    ranked, judged = ranking.grades_of(torch.tensor([[4]]), *(torch.zeros(3, 0).long()))
    assert ours(ranked, judged, 1)["ndcg_cut_1"] == [0.0]
