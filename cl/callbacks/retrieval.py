"""Each epoch: validation queries are searched, among texts and images, or scored pairs ranked."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from cl import distributed
from cl.callbacks.watch import needs_log
from cl.data.loaders.given import as_batch
from cl.measures import spearman
from cl.ranking import grades_of, mrr_at, ndcg_at, recall_at, success_at
from cl.search import search

K = 10
MEASURES = {"mrr": mrr_at, "ndcg": ndcg_at, "recall": recall_at}
Numbered = tuple[Tensor, Tensor]  # features and their samples' numbers
RECALLS = (1, 5, K)  # of images and captions


class Retrieval(Callback):
    """Each epoch: `val/mrr10`, `val/ndcg10` and `val/recall10` over the whole corpus, by cosine.

    The features are those that validation computes, on each process of its own texts; queries are
    gathered, documents stay where they are. The numbers are those of one process.

    Args:
        queries: how many of the numbered samples are queries, the first ones; the others are
            documents.
        judgments: `(j 3)`, of a query, a document and its grade, above 0 if it is relevant; a query
            without a relevant document does not count.
        itself: the document that each query is itself, which is not found, see `search`.
    """

    def __init__(self, queries: int, judgments: Tensor, itself: Tensor | None = None) -> None:
        self.queries, self.judgments, self.itself = queries, judgments, itself
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
        for name, mean in self.measured(h, index).items():
            pl_module.log(f"val/{name}", mean.float(), logger=needs_log(trainer))

    def measured(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        """What is logged, by name.

        Args:
            h: features of this process's samples.
            index: their numbers.
        """
        asks = index < self.queries
        own = (h[asks], index[asks]), (h[~asks], index[~asks] - self.queries)
        ranked, judgments = self.searched(*own, self.judgments)
        counts = (judgments > 0).any(dim=1)
        return {
            f"{name}{K}": measure(ranked, judgments, K)[counts].mean()
            for name, measure in MEASURES.items()
        }

    def searched(
        self, queries: Numbered, documents: Numbered, judgments: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the measures take: queries of all processes, searched among all documents."""
        h, _ = distributed.gather(queries[0], dim=0)
        order, _ = distributed.gather(queries[1], dim=0)
        itself = None if self.itself is None else self.itself.to(h.device)
        places = {"numbers": documents[1], "itself": itself}
        _, at = search(h[order.argsort()], documents[0], K, **places)
        return grades_of(at, *judgments.to(at.device).unbind(dim=1))


class CrossRetrieval(Retrieval):
    """Each epoch: `val/recall1_t2i` and its kin, from captions to images, and `_i2t` back.

    Recall@k is as it is reported of images and captions: the share of the queries that have one of
    theirs among the first k, so that one of five captions is enough.

    Args:
        queries: how many of the numbered samples are captions, the first ones; the others are
            images.
        judgments: `(j 3)`, of a caption, its image and the grade 1.
    """

    def measured(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        asks, found = index < self.queries, {}
        captions = h[asks], index[asks]
        images = h[~asks], index[~asks] - self.queries
        back = self.judgments[:, [1, 0, 2]]
        for way, ranked, judgments in (
            ("t2i", *self.searched(captions, images, self.judgments)),
            ("i2t", *self.searched(images, captions, back)),
        ):
            for k in RECALLS:
                found[f"recall{k}_{way}"] = success_at(ranked, judgments, k).mean()
        return found


class Graded(Retrieval):
    """Each epoch: `val/spearman`, of the cosine of scored pairs with their scores.

    It is the correlation that `--eval sts` has (`cl.measures.spearman`), and NaN where all cosines
    are equal. Each process compares its own first texts with the second ones of all.

    Args:
        positive: `(n)`, for each pair the place of its second text; the first n of the numbered
            samples are the first texts, behind them are the second ones.
        scores: `(n)`, of the pairs.
    """

    def __init__(self, positive: Tensor, scores: Tensor) -> None:
        super().__init__(len(positive), positive.new_empty(0, 3))
        self.positive, self.scores = positive, scores

    def measured(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        asks = index < self.queries
        others, _ = distributed.gather(h[~asks], dim=0)
        numbers, _ = distributed.gather(index[~asks] - self.queries, dim=0)
        of_pairs = others[numbers.argsort()][self.positive.to(h.device)[index[asks]]]
        own = F.cosine_similarity(h[asks].double(), of_pairs.double())
        cosines, _ = distributed.gather(own, dim=0)
        pairs, _ = distributed.gather(index[asks], dim=0)
        found = spearman(cosines[pairs.argsort()].cpu().numpy(), self.scores.double().numpy())
        return {"spearman": torch.tensor(found, device=h.device)}
