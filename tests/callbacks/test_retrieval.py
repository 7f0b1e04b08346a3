"""Retrieval in validation: it logs what plain loops find, on one process and on several."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist  # noqa: TID251 (a group of its own)
import torch.multiprocessing as mp
from scipy.stats import spearmanr
from torch import Tensor

from cl.callbacks.retrieval import Graded, Retrieval
from cl.callbacks.watch import Watch
from cl.data.batch import Batch
from tests.test_ranking import naive

QUERIES, DOCUMENTS = 7, 23


def features() -> Tensor:
    """Queries, then documents, two of which are alike."""
    h = torch.randn(QUERIES + DOCUMENTS, 6, generator=torch.Generator().manual_seed(0))
    h[QUERIES + 5] = h[QUERIES + 2]
    return h


def judgments() -> Tensor:
    """Some documents of each query, graded; the last query has no relevant one."""
    generator = torch.Generator().manual_seed(1)
    rows = [
        (q, int(d), int(g) * (q < QUERIES - 1))
        for q in range(QUERIES)
        for d, g in zip(
            torch.randperm(DOCUMENTS, generator=generator)[:5],
            torch.tensor([0, 1, 2, 3, 1]),
            strict=True,
        )
    ]
    return torch.tensor([*rows, (0, 2, 1), (1, 5, 2)]).unique(dim=0)


class Method(pl.LightningModule):
    """A method as a callback sees it; remembers what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, float] = {}

    def log(self, name: str, value: Tensor, **_: object) -> None:
        self.said[name] = float(value)


def graded() -> Graded:
    """Pairs of the queries, two of which have one document, with scores of which two are equal."""
    scores = torch.tensor([4, 2.5, 1, 2.5, 0, 3, 5], dtype=torch.float64)
    return Graded(torch.tensor([22, 3, 9, 3, 0, 17, 11]), scores)


def validated(
    own: Tensor, sanity: bool = False, callback: Retrieval | None = None
) -> dict[str, float]:
    """What a validation logs on a process that has these of the samples."""
    h, method = features(), Method()
    callback = callback or Retrieval(QUERIES, judgments())
    trainer = Mock(spec=pl.Trainer, sanity_checking=sanity, callbacks=[Watch(1)], loggers=[])
    for _ in range(2):  # the second epoch begins anew
        callback.on_validation_epoch_start(trainer, method)
        for index in own.split(4):
            batch = Batch([], index * 0 - 1, index)
            callback.on_validation_batch_end(trainer, method, {"h": h[index]}, batch, 0)
        callback.on_validation_epoch_end(trainer, method)
    return method.said


def test_a_query_that_is_a_document_is_not_found() -> None:
    h = torch.eye(3)[[0, 0, 1]] + 0.1  # of a query, of itself as a document, of its answer
    itself = torch.tensor([0])
    of_answer = torch.tensor([[0, 1, 1]])
    for known, mrr in ((None, 0.5), (itself, 1.0)):
        found = Retrieval(1, of_answer, known).measured(h, torch.arange(3))
        assert float(found["mrr10"]) == mrr


def expected() -> dict[str, float]:
    """The same by sorting all documents of each query."""
    h, rows = features().double(), judgments().tolist()
    each = []
    for q in range(QUERIES - 1):
        grades = {d: g for i, d, g in rows if i == q}
        scores = torch.cosine_similarity(h[q], h[QUERIES:], dim=1).float().tolist()
        order = sorted(range(DOCUMENTS), key=lambda d: (scores[d], d), reverse=True)
        each.append(naive([grades.get(d, 0) for d in order], [*grades.values()], 10))
    names = {"val/mrr10": "mrr_10", "val/ndcg10": "ndcg_cut_10", "val/recall10": "recall_10"}
    return {ours: sum(e[name] for e in each) / len(each) for ours, name in names.items()}


def test_what_is_logged_is_what_the_loops_find() -> None:
    assert validated(torch.arange(QUERIES + DOCUMENTS)) == pytest.approx(expected(), abs=1e-6)


def test_nothing_is_logged_of_a_sanity_check() -> None:
    assert validated(torch.arange(QUERIES + DOCUMENTS), sanity=True) == {}


def test_of_scored_pairs_it_is_the_correlation_of_scipy() -> None:
    callback, h = graded(), features().double()
    pairs = enumerate(callback.positive.tolist())
    cosines = [float(torch.cosine_similarity(h[q], h[QUERIES + d], dim=0)) for q, d in pairs]
    found = validated(torch.arange(QUERIES + DOCUMENTS), callback=callback)
    expected = spearmanr(cosines, callback.scores).statistic
    assert found == {"val/spearman": pytest.approx(expected, abs=1e-6)}
    collapsed = callback.measured(torch.ones(QUERIES + DOCUMENTS, 2), torch.arange(30))
    assert collapsed["spearman"].isnan()


def work(rank: int, parts: list[list[int]], folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), len(parts))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=len(parts))
    own = torch.tensor(parts[rank])
    torch.save(validated(own) | validated(own, callback=graded()), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_processes_log_what_one_logs(world: int, tmp_path: Path) -> None:
    """Each has every W-th of the queries and of the documents, as the loader shares them."""
    whole = torch.arange(QUERIES + DOCUMENTS)
    parts = [
        whole[QUERIES:][r::world].tolist() + whole[:QUERIES][r::world].tolist()
        for r in range(world)
    ]
    mp.spawn(work, (parts, tmp_path), nprocs=world)
    one = validated(whole) | validated(whole, callback=graded())
    for rank in range(world):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == one
