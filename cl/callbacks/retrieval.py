"""Each epoch of texts: the documents of the validation queries are searched in their corpus."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from cl import distributed
from cl.callbacks.watch import needs_log
from cl.data.loaders.given import as_batch
from cl.ranking import grades_of, mrr_at, ndcg_at, recall_at
from cl.search import search

K = 10
MEASURES = {"mrr": mrr_at, "ndcg": ndcg_at, "recall": recall_at}


class Retrieval(Callback):
    """Each epoch: `val/mrr10`, `val/ndcg10` and `val/recall10` over the whole corpus, by cosine.

    The features are those that validation computes, on each process of its own texts; queries are
    gathered, documents stay where they are. The numbers are those of one process.

    Args:
        queries: how many of the numbered samples are queries, the first ones; the others are
            documents.
        judgments: `(j 3)`, of a query, a document and its grade, above 0 if it is relevant; a query
            without a relevant document does not count.
    """

    def __init__(self, queries: int, judgments: Tensor) -> None:
        self.queries, self.judgments = queries, judgments
        self.found: list[tuple[Tensor, Tensor]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.found = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.found.append((outputs["h"], as_batch(batch).index))

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        h, index = (torch.cat(part) for part in zip(*self.found, strict=True))
        self.found = []
        asks = index < self.queries
        queries, _ = distributed.gather(h[asks], dim=0)
        order, _ = distributed.gather(index[asks], dim=0)
        numbers = index[~asks] - self.queries
        _, at = search(queries[order.argsort()], h[~asks], K, numbers=numbers)
        ranked, judgments = grades_of(at, *self.judgments.to(at.device).unbind(dim=1))
        counts = (judgments > 0).any(dim=1)
        for name, measure in MEASURES.items():
            mean = measure(ranked, judgments, K)[counts].mean().float()
            pl_module.log(f"val/{name}{K}", mean, logger=needs_log(trainer))
