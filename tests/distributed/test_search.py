"""Exact search against all scores sorted, in blocks, over processes, and against trec_eval."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from cl.search import packed, search, unpacked

ON_THREE, ON_TWO = [1, 10, 3], ([9, 5], [14, 0])  # documents of each process


def with_ties() -> tuple[Tensor, Tensor, Tensor]:
    """Queries, documents of which several are alike, and their numbers in a mixed order."""
    generator = torch.Generator().manual_seed(0)
    queries, some = (torch.randn(n, 8, generator=generator) for n in (6, 7))
    documents = torch.cat([some, some[[0, 0, 1, 2, 3, 0]], torch.zeros(1, 8)])
    return queries, documents, torch.randperm(14, generator=generator)


def sorted_whole(queries: Tensor, documents: Tensor, numbers: Tensor, k: int) -> list[list[int]]:
    """The rule written out: the larger score in float32, then the larger number."""
    expected = []
    for q in queries.double().numpy():
        scores = []
        for d in documents.double().numpy():
            size = np.linalg.norm(q) * np.linalg.norm(d)
            scores.append(np.float32(q @ d / size if size else 0.0))
        order = sorted(range(len(scores)), key=lambda i: (scores[i], numbers[i]), reverse=True)
        expected.append([int(numbers[i]) for i in order[:k]])
    return expected


@pytest.mark.parametrize("block", [1, 3, 5, 100])
@pytest.mark.parametrize("k", [1, 4, 14, 30])
def test_the_first_k_of_all(block: int, k: int) -> None:
    queries, documents, numbers = with_ties()
    scores, found = search(queries, documents, k, numbers=numbers, block=block)
    assert found.tolist() == sorted_whole(queries, documents, numbers, k)
    back = numbers.argsort()
    exact = torch.cosine_similarity(queries[:, None], documents[back][found], dim=2)
    assert torch.allclose(scores, exact, atol=1e-6)


@pytest.mark.parametrize("k", [1, 4, 14, 30])
def test_a_query_does_not_find_itself(k: int) -> None:
    queries, documents, numbers = with_ties()
    first = torch.tensor(sorted_whole(queries, documents, numbers, len(documents)))
    itself = first[:, min(k, first.shape[1]) // 2].clone()  # among what would be found
    itself[0] = -1
    _, found = search(queries, documents, k, numbers=numbers, itself=itself, block=4)
    for own, ranked, at in zip(itself.tolist(), first.tolist(), found.tolist(), strict=True):
        others = [number for number in ranked if number != own]
        assert at == (others + [own] * (own >= 0))[:k]


def work(rank: int, sizes: list[int], folder: Path) -> None:
    """One process's part of the documents; found by all of them together."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=len(sizes)
    )
    queries, documents, numbers = with_ties()
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    found = [
        search(queries, documents[own], 10, numbers=numbers[own], block=4),
        search(queries, documents[own], 10, block=4),
    ]
    torch.save(found, folder / f"{rank}.pt")
    broken = documents[own] / (0 if rank == 0 else 1)
    with pytest.raises(ValueError, match="not finite"):  # on every process, so that none waits
        search(queries, broken, 1)
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "sizes", [ON_THREE, *(pytest.param(each, marks=pytest.mark.slow) for each in ON_TWO)], ids=str
)
def test_processes_find_what_one_finds(sizes: list[int], tmp_path: Path) -> None:
    queries, documents, numbers = with_ties()
    expected = [search(queries, documents, 10, numbers=numbers), search(queries, documents, 10)]
    mp.spawn(work, (sizes, tmp_path), nprocs=len(sizes))
    for rank in range(len(sizes)):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for (scores, at), (ours, place) in zip(expected, found, strict=True):
            assert torch.equal(scores, ours)
            assert torch.equal(at, place)


def test_ties_are_broken_as_trec_eval_breaks_them() -> None:
    """By reciprocal rank with one relevant document, which tells the rank of each document."""
    trec: Any = pytest.importorskip("pytrec_eval")
    queries, documents, _ = with_ties()
    names = [f"d{i}" for i in range(14)]  # d10 stands before d2
    numbers = torch.from_numpy(np.argsort(np.argsort(names)))
    exact = torch.cosine_similarity(queries[:, None].double(), documents[None].double(), dim=2)
    found = search(queries, documents, 14, numbers=numbers)[1]
    for i in range(len(queries)):
        run = {f"q{j}": dict(zip(names, exact[i].tolist(), strict=True)) for j in range(14)}
        qrels = {f"q{j}": {name: 1} for j, name in enumerate(names)}
        ranks = trec.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)
        for j in range(14):
            place = found[i].tolist().index(int(numbers[j])) + 1
            assert ranks[f"q{j}"]["recip_rank"] == pytest.approx(1 / place)


def test_keys_are_ordered_as_scores_then_numbers() -> None:
    scores = torch.tensor([[-1.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 1.0]])
    numbers = torch.tensor([2**31 - 1, 5, 3, 2, 0, 1, 7])
    keys = packed(scores, numbers)
    assert keys.argsort(dim=1).tolist() == [[0, 1, 3, 2, 4, 5, 6]]
    again, at = unpacked(keys)
    assert torch.equal(again, scores)
    assert torch.equal(at[0], numbers)


def test_nothing_to_find() -> None:
    assert search(torch.ones(2, 3), torch.ones(0, 3), 4)[1].shape == (2, 0)
    assert search(torch.ones(0, 3), torch.ones(2, 3), 4)[1].shape == (0, 2)
    with pytest.raises(ValueError, match="not finite"):
        search(torch.full((1, 2), torch.nan), torch.ones(2, 2), 1)
